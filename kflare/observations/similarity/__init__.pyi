"""What a notebook imports from this room; anything else in it may change. See docs/api.md."""

from .fidelity import fidelity_report
from .measures import byte_correlation, cw_ssim, gauss_correlation, pixel_correlation

__all__ = ["byte_correlation", "cw_ssim", "fidelity_report", "gauss_correlation", "pixel_correlation"]
