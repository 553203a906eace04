"""The analysis of Yi et al. (2021, section 4) over attribution files: tables as CSV, figures as PNG and PDF.

| file | what |
| --- | --- |
| `images.csv` | an image per row: forecast, largest flare within 24 h, hit, miss, false alarm or null |
| `regions.csv` | an image and region per row: position, Grad-CAM value, PIL measures, flare, SHARP parameters |
| `table2.csv`, `table2_numbers.csv` | the paper's Table 2, in its layout and as numbers |
| `figure6.csv`, `figure7.csv` | flare occurrence by Grad-CAM value; correlations with SHARP parameters |
| `figure2_DAY`, `figure3` … `figure7` | the figures |
| `summary.json` | sample sizes and settings |

One image is in memory at a time.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from kflare.attribution.analysed_image import AnalysisOptions, read_image, region_rows
from kflare.attribution.attribution_file import Attribution
from kflare.attribution.gradients import table_2, table_2_as_printed
from kflare.attribution.image_maps import ImageMaps
from kflare.attribution.outcomes import OUTCOMES, flux_of_regions, named_outcomes
from kflare.attribution.region_tables import with_sharp
from kflare.attribution.relations import correlations, occurrence_rates
from kflare.datasets.archive import forecast_time
from kflare.errors import DataError
from kflare.flares.catalogue import FlareList
from kflare.flares.labels import disk_flux, reaches
from kflare.io.atomic import make_folder, write_whole
from kflare.models.registry import model_spec
from kflare.regions.inversion_lines import PolarityLines

__all__ = ["Analysis", "analyse"]


@dataclass(frozen=True)
class Analysis:
    """The rows of `images.csv` and `regions.csv`, and what else an analysis found."""

    images: pd.DataFrame
    regions: pd.DataFrame
    tables: dict[str, pd.DataFrame]  # by file name; `figure7` only where SHARP parameters were given
    files: list[Path]  # everything that was written
    failures: dict[str, str]  # files that could not be used, and why
    summary: dict[str, Any]  # sample sizes and settings

    def as_text(self) -> str:
        """Table 2, the correlations of Fig. 7 and the sample sizes, to be read."""
        images, flaring = self.summary["images"], self.summary["flaring_regions"]
        decision = self.summary["settings"]["decision_threshold"]
        sizes = [
            f"{name}: {images[name]} images, {count} regions, {flaring[name]} of them flaring"
            for name, count in self.summary["regions"].items()
        ]
        printed = self.tables["table2"].set_index("Outcome").T.reset_index(names="mean ± RMS deviation")
        parts = [
            f"{self.summary['model']}, {self.summary['flaring']}, decided at {decision:.3g}",
            "\n".join(sizes),
            printed.to_string(index=False),
        ]
        if "figure7" in self.tables:
            columns = ["parameter", "n", "days", "pearson", "pearson_log", "spearman", "yi2021"]
            scaled = self.tables["figure7"].drop_duplicates("parameter")[columns]
            parts.append(scaled.to_string(index=False, float_format="%.2f", na_rep=""))
        parts.append(f"{len(self.files)} tables and figures in {self.files[0].parent}")
        return "\n\n".join(parts)


def analyse(
    files: Sequence[Path],
    magnetograms: Sequence[Path],
    output: Path,
    *,
    flares: FlareList,
    regions: pd.DataFrame,
    sharp: pd.DataFrame | None = None,
    days: Sequence[date] = (),
    options: AnalysisOptions | None = None,
) -> Analysis:
    """Analyse the attribution files of one model with their images, and write tables and figures to a folder.

    The flare list must cover the images and name the regions of its flares; `regions` are as from
    `region_tables.read_regions`, `sharp` as from `kflare.sharp.daily.read_sharp_daily` (without it there is no Fig. 7).
    `days` are preferred as examples in Figs. 2 to 5; each also gets a Fig. 2 of its own. Files that cannot be used are
    left out and listed in `failures`; `DataError` where none can be used, or they come from different models.
    """
    chosen = options or AnalysisOptions()
    paths = {path.name: path for path in magnetograms}
    make_folder(output)

    def read(path: Path) -> tuple[Attribution, ImageMaps, PolarityLines]:
        return read_image(path, paths, regions, chosen)

    images, rows, failures = _measured(files, read, regions, chosen)
    model = images["model"].iloc[0]
    threshold = model_spec(model.rpartition(" ")[0]).event
    flux = disk_flux(images["time"], flares)
    outcome = named_outcomes(images["probability"], reaches(flux, threshold), threshold=chosen.decision_threshold)
    images = images.assign(flux24=flux, outcome=outcome)
    own = flux_of_regions(rows["time"], rows["noaa"], flares)
    rows = rows.assign(
        noaa=rows["noaa"].astype("Int64"),
        outcome=rows["image"].map(images.set_index("image")["outcome"]),
        flux24=own,
        flaring=reaches(own, threshold),
    )
    if sharp is not None:
        rows = with_sharp(rows, sharp, tolerance_hours=chosen.tolerance_hours)
    tables = _tables(rows, chosen, threshold, sharp=sharp is not None)
    about = {"model": model, "flaring": f">= {threshold}1.0 within 24 h"}
    summary = {**about, **_sizes(images, rows), "not_analysed": len(failures), "settings": asdict(chosen)}
    found = {"images": images.drop(columns="path"), "regions": rows, **tables}
    written = [_write_csv(table, output / f"{name}.csv") for name, table in found.items()]
    written.append(write_whole(output / "summary.json", json.dumps(summary, indent=2)))

    from kflare.attribution.analysis_figures import write_figures

    written += write_figures(
        images, rows, tables, output, read=read, days=days, threshold=threshold, max_longitude=chosen.max_longitude
    )
    return Analysis(found["images"], rows, tables, written, failures, summary)


def _measured(
    files: Sequence[Path],
    read: Callable[[Path], tuple[Attribution, ImageMaps, PolarityLines]],
    regions: pd.DataFrame,
    options: AnalysisOptions,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, str]]:
    """Tables of images and of regions, and why files could not be used."""
    from tqdm import tqdm

    images: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    failures: dict[str, str] = {}
    for path in tqdm(files, desc="analysing", unit="image", disable=None):
        try:
            found, image, lines = read(path)
        except DataError as error:
            failures[str(path)] = str(error)
            continue
        images.append(
            {
                "image": found.image,
                "time": forecast_time(found.time),
                "model": f"{found.origin.model} {found.origin.version}",
                "probability": found.probability,
                "calibrated": found.calibrated,
                "regions": len(image.patches),
                "path": str(path),
            }
        )
        rows += region_rows(found, image, lines, regions, strong_gradient=options.strong_gradient)
    if not images:
        first = next(iter(failures.values()), "there are none")
        raise DataError(f"none of {len(files)} attribution files can be analysed; the first: {first}")
    table = pd.DataFrame(images).sort_values("time", kind="stable", ignore_index=True)
    if len(set(table["model"])) > 1:
        raise DataError(f"the attribution files come from different models: {', '.join(table['model'].unique())}")
    if not rows:
        raise DataError("no active region lies on the disk at the time of any image: give a table that covers them")
    return table, pd.DataFrame(rows).sort_values(["time", "region"], kind="stable", ignore_index=True), failures


def _tables(rows: pd.DataFrame, options: AnalysisOptions, threshold: str, *, sharp: bool) -> dict[str, pd.DataFrame]:
    known = rows[rows["flux24"].notna()]
    numbers = table_2(known)
    # The paper leaves nulls out of Figs. 6 and 7.
    chosen = known[known["outcome"] != "null"]
    tables = {
        "table2": table_2_as_printed(numbers, threshold=threshold),
        "table2_numbers": numbers,
        "figure6": occurrence_rates(chosen["grad_cam"], chosen["flux24"]),
    }
    if sharp:
        inner = rows[(rows["outcome"] != "null") & (rows["lon"].abs() <= options.max_longitude)]
        found = [
            correlations(inner, value=value, resamples=options.resamples, seed=options.seed).assign(scaling=scaling)
            for value, scaling in (("grad_cam", "0-1 per image"), ("grad_cam_raw", "none"))
        ]
        tables["figure7"] = pd.concat(found, ignore_index=True)
    return tables


def _sizes(images: pd.DataFrame, rows: pd.DataFrame) -> dict[str, Any]:
    def counts(column: pd.Series) -> dict[str, int]:
        return {name: int((column == name).sum()) for name in OUTCOMES}

    flaring = rows[rows["flaring"]]
    events = images[images["outcome"].isin(["hit", "miss"])]
    sizes: dict[str, Any] = {
        "first": f"{images['time'].min():%Y-%m-%dT%H:%MZ}",
        "last": f"{images['time'].max():%Y-%m-%dT%H:%MZ}",
        "images": counts(images["outcome"]),
        "regions": counts(rows["outcome"]),
        "flaring_regions": counts(flaring["outcome"]),
        "flaring_images_without_flaring_region": int((~events["image"].isin(flaring["image"])).sum()),
    }
    if "sharp_hours" in rows:
        hours = rows["sharp_hours"].dropna()
        sizes["regions_with_sharp"] = len(hours)
        sizes["flaring_regions_with_sharp"] = int(rows.loc[hours.index, "flaring"].sum())
        sizes["sharp_hours_median"] = float(hours.abs().median()) if len(hours) else None
    return sizes


def _write_csv(table: pd.DataFrame, path: Path) -> Path:
    plain = table.copy()
    if "time" in plain:
        plain["time"] = plain["time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return write_whole(path, plain.to_csv(index=False, float_format="%.6g"))
