"""How alike two magnetograms are."""
