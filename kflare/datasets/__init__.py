"""From observations to training data: labels, history, splits and tf.data pipelines."""
