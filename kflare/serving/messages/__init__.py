"""TensorFlow Serving's messages, tensors, configuration files and status codes, without TensorFlow."""
