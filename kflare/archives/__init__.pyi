"""What a notebook imports from this room; anything else in it may change. See docs/api.md."""

from .downloads import download_all
from .hek import query_hek_flares
from .jsoc import Jsoc
from .magnetograms import find_helioviewer, find_jsoc, find_soho
from .near_real_time import fetch_nrt
from .sharp import query_sharp_keywords
from .web import RetryPolicy, Web

__all__ = [
    "Jsoc",
    "RetryPolicy",
    "Web",
    "download_all",
    "fetch_nrt",
    "find_helioviewer",
    "find_jsoc",
    "find_soho",
    "query_hek_flares",
    "query_sharp_keywords",
]
