"""Files of the synthetic Sun, in the forms in which kflare reads observed data (DESIGN.md, section 6)."""

from pathlib import Path

import pandas as pd

from kflare.observations.magnetogram import Magnetogram
from kflare.sharp.keywords import write_sharp_table
from kflare.synthetic.sharp import SHARP_UNITS

__all__ = ["write_magnetogram", "write_region_table"]


def write_magnetogram(magnetogram: Magnetogram, folder: Path, *, byte_range: float) -> Path:
    """Write a grey JPEG of quality 95 as `folder`/synthetic_YYYYMMDD_HHMMSS.jpg; off the disk is byte 0."""
    from PIL import Image

    path = folder / f"synthetic_{magnetogram.time:%Y%m%d_%H%M%S}.jpg"
    Image.fromarray(magnetogram.to_bytes(byte_range)).save(path, quality=95)
    return path


def write_region_table(table: pd.DataFrame, path: Path) -> None:
    """Write Parquet with the unit of each measured column in the schema, as field metadata `unit`."""
    units = {"lon": "degree", "lat": "degree", **SHARP_UNITS}
    table = table.copy()
    table.attrs["units"] = {name: unit for name, unit in units.items() if unit}
    write_sharp_table(table, path)
