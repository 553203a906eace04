r"""Draw Fig. 4 of Nishizuka et al. (2021), time-series cross-validation, with the samples that it is made on.

A row for each test year: training in blue, validation in green, test in red, as `kflare crossvalidate --test-years`
takes them of the same table.

    python tools/paper_figure_4.py --regions features/regions.parquet --test-years 2013 2014 --output figure-4.png
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from kflare.datasets.region_features import to_forecast
from kflare.datasets.region_table import read_region_table
from kflare.errors import KflareError
from kflare.io.atomic import write_whole
from kflare.models.crossvalidation.folds import year_folds
from kflare.models.crossvalidation.report import fold_labels

__all__ = ["main"]

_COLOURS = {"training": "#3b75af", "validation": "#519e3e", "test": "#c53a32"}


def main(argv: list[str] | None = None) -> int:
    """Draw the figure; exit status 1 where the table cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regions", type=Path, required=True, metavar="FILE", help="region table of `kflare features`")
    parser.add_argument("--test-years", type=int, nargs="+", required=True, metavar="YEAR")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="PNG")
    args = parser.parse_args(argv)
    try:
        times = to_forecast(read_region_table(args.regions))["time"]
        write_whole(args.output, figure_4(times, args.test_years))
    except KflareError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


def figure_4(times: pd.Series, years: list[int]) -> bytes:
    """The picture as PNG, of the times of the samples; its rows are the folds from the first test year to the last."""
    import io

    from matplotlib.figure import Figure

    folds = year_folds(times, years)
    labels = fold_labels(times, folds)
    figure = Figure(figsize=(9, 1.6 + 0.5 * len(folds)), layout="constrained")
    axes = figure.subplots()
    days = times.dt.floor("D")
    for row, fold in enumerate(folds):
        for name, rows in zip(_COLOURS, (fold.train, fold.validation, fold.test), strict=True):
            seen = days[rows].unique()
            spans = [(day, pd.Timedelta(days=1)) for day in seen]
            axes.broken_barh(spans, (row - 0.4, 0.8), color=_COLOURS[name], label=name if row == 0 else None)
    axes.set_yticks(range(len(folds)), [labels[fold.name] for fold in folds], fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.invert_yaxis()
    axes.set_title("Time-series cross-validation: days with samples", fontsize=10)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=120)
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(main())
