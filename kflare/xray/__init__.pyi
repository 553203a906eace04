"""What a notebook imports from this room; anything else in it may change. See docs/api.md."""

from .flux import XrayFlux, read_xray_flux

__all__ = ["XrayFlux", "read_xray_flux"]
