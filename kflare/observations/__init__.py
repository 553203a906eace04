"""Images of the Sun in memory: magnetograms and images of its light, their readers, quality, sets and similarity."""
