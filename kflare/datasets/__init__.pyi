"""What a notebook imports from this room; anything else in it may change. See docs/api.md."""

from .archive import daily_images, index_archive
from .history import add_changes, disk_history, region_history
from .reduced_images import proxies_of
from .region_samples import samples_of_region_table, samples_of_sharp
from .region_table import read_region_table
from .splits import Split, chronological_split

__all__ = [
    "Split",
    "add_changes",
    "chronological_split",
    "daily_images",
    "disk_history",
    "index_archive",
    "proxies_of",
    "read_region_table",
    "region_history",
    "samples_of_region_table",
    "samples_of_sharp",
]
