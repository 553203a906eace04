"""Flare catalogues, and the labels and outcomes that follow from them."""
