"""What a notebook imports from this room; anything else in it may change. See docs/api.md."""

from .daily import read_sharp_daily
from .keywords import read_sharp_header, read_sharp_table, sharp_table
from .samples import SharpSamples, read_sharp_samples

__all__ = [
    "SharpSamples",
    "read_sharp_daily",
    "read_sharp_header",
    "read_sharp_samples",
    "read_sharp_table",
    "sharp_table",
]
