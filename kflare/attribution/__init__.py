"""Why the dense CNN says so: Grad-CAM and guided backpropagation."""
