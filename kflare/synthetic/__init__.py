"""A made-up Sun, for trying things out."""
