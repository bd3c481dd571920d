"""The network as arrays: rows, statistics and scaling, without TensorFlow."""
