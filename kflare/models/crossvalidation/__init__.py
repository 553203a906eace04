"""Cross-validation of the region and the image models."""
