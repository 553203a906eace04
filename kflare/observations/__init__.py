"""What was seen: magnetograms, flare lists, SHARP samples and the synthetic Sun."""
