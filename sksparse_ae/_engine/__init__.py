"""What is compiled: the only private package that imports TensorFlow or Keras."""
