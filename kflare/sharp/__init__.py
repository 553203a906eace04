"""SHARP and SMARP: keywords and samples of HMI's and MDI's active-region patches."""
