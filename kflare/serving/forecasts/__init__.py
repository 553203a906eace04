"""Forecasts and attribution maps of served models."""
