"""One file per format of a magnetogram."""
