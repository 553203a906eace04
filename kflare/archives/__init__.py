"""Archives of others: JSOC, Helioviewer, SOHO, NOAA, and the near-real-time sets of a forecast."""
