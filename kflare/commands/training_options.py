"""Options that `kflare.fit` and `kflare.crossvalidate` share: which network, on which data, taught by what."""

import argparse
from pathlib import Path

__all__ = ["add_model_and_data", "add_teaching"]


def add_model_and_data(parser: argparse.ArgumentParser) -> "argparse._ArgumentGroup":
    """Add the model's name and the options of its data; returns their group, for more of them."""
    parser.add_argument(
        "model",
        choices=("cnn-c", "cnn-m", "defn-c", "defn-m"),
        help="network and class: C = flare >= C1.0, M = >= M1.0",
    )
    data = parser.add_argument_group("data")
    data.add_argument("--magnetograms", type=Path, metavar="DIR", help="cnn-*: folder of full-disk magnetograms")
    data.add_argument(
        "--byte-range",
        type=float,
        metavar="GAUSS",
        help="field of byte 255 in 8-bit images (default: 100 for JPEG and PNG, as in the paper)",
    )
    data.add_argument("--sharp", type=Path, metavar="DIR", help="defn-*: folder of SHARP sample tables (sharp_0.csv …)")
    data.add_argument("--harp-noaa", type=Path, metavar="FILE", help="with --sharp: Parquet table harpnum, noaa_ar")
    data.add_argument(
        "--regions", type=Path, metavar="FILE", help="defn-*: region table, Parquet or CSV, instead of --sharp"
    )
    data.add_argument(
        "--features",
        nargs="+",
        metavar="NAME",
        help="defn-*: columns to use, or a set, sharp or defn79 (default: defn79 if the table has it, else all it has)",
    )
    data.add_argument("--flares", type=Path, required=True, metavar="FILE", help="GOES flare list, CSV")
    return data


def add_teaching(recipe: "argparse._ArgumentGroup") -> None:
    """Add how the dense CNN is taught."""
    recipe.add_argument("--no-augment", action="store_true", help="cnn-*: no mirroring and polarity reversal")
    recipe.add_argument(
        "--teach",
        choices=("flares", "polarity-lines"),
        default="flares",
        help="cnn-*: what trains the layers: the labels, or fluxes and polarity inversion lines measured on the images,"
        " and the labels only the last layer (default: flares)",
    )
