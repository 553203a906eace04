"""Files, folders and workers: nothing solar."""
