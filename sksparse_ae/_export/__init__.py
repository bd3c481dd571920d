"""Ways out: a module of NumPy, ONNX, Keras, and plain types for pickles."""
