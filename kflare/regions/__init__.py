"""Active regions and the one table of their features."""
