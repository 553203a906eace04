"""What everything solar shares: the disk, its geometry, and times."""
