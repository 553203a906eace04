"""Forecast verification: numpy in, numbers out."""
