"""Exports: a NumPy module, ONNX, Keras, and plain types for pickles."""
