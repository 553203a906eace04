"""X-ray flux of the GOES satellites."""
