"""What is published of a forecast: the web site, CCMC's Flare Scoreboard, CSV and `latest.json`."""
