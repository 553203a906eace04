"""The analysis of Yi et al. (2021, section 4) over attribution files: tables as CSV, figures as PNG and PDF.

docs/formats.md tells which. One image is in memory at a time.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from kflare.attribution.attribution_file import LABELS, Attribution, read_attribution, require_methods
from kflare.attribution.gradients import MEASURES, line_measures, table_2, table_2_as_printed
from kflare.attribution.harps import BOX, largest, place_regions, regions_near
from kflare.attribution.image_maps import CLASS_MAPS, ImageMaps, scaled_maps
from kflare.attribution.map_measures import alike_table, map_measures, map_table
from kflare.attribution.outcomes import OUTCOMES, flux_of_regions, named_outcomes
from kflare.attribution.region_tables import with_sharp
from kflare.attribution.relations import correlations, occurrence_rates
from kflare.datasets.archive import forecast_time
from kflare.errors import DataError, SettingError
from kflare.flares.catalogue import FlareList
from kflare.flares.labels import disk_flux, reaches
from kflare.io.atomic import make_folder, write_whole
from kflare.models.registry import model_spec
from kflare.observations.reading import read_magnetogram
from kflare.observations.usability import require_usable
from kflare.regions.inversion_lines import PolarityLines, default_threshold, polarity_lines

_FLARE: Final = LABELS.index("flare")


@dataclass(frozen=True)
class AnalysisOptions:
    """What the paper leaves open, and what the tables are restricted to."""

    decision_threshold: float = 0.5  # of a flare forecast; 0.5 in the paper: the higher of two scores decides
    methods: tuple[str, ...] = ()  # of `CLASS_MAPS`, that every file must hold; () for those that are there
    area: str = "box"  # "box" or "field", see `harps.AREAS`
    bitmaps: Path | None = None  # folder of the bitmaps of HARPs, see `harps.harp_areas`
    polarity_threshold: float | None = None  # gauss; None for `polarity_lines.default_threshold` of each image
    polarity_method: str = "edges"  # "edges" or "schrijver", see `polarity_lines.polarity_lines`
    line_width: int = 4  # side in pixels of the square by which "edges" dilates
    strong_gradient: float = 0.1  # scaled gradient that counts as activated for the IoU; 0.1 in the paper
    max_longitude: float = 60.0  # largest |longitude| in degrees for Fig. 7; 60 in the paper
    tolerance_hours: float = 12.0  # of a region's position or SHARP record to the image
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        require_methods(self.methods, CLASS_MAPS)
        if not 0 <= self.decision_threshold <= 1:
            raise SettingError(f"`decision_threshold` must lie in [0, 1], got {self.decision_threshold}")
        if not self.tolerance_hours >= 0 or not self.max_longitude > 0:
            raise SettingError("`tolerance_hours` must not be negative, and `max_longitude` be above 0 degrees")


def read_image(
    path: Path, images: Mapping[str, Path], regions: pd.DataFrame, options: AnalysisOptions
) -> tuple[Attribution, ImageMaps, PolarityLines]:
    """An attribution file with its image (of `images`, by name), regions and inversion lines; else `DataError`."""
    from kflare.datasets.preprocessing import reduced  # loads TensorFlow

    found = read_attribution(path)
    if found.image not in images:
        raise DataError(f"`{path}`: its magnetogram `{found.image}` is not among those given: name its folder")
    for method in options.methods:
        found.require(method)
    image = read_magnetogram(images[found.image], byte_range=found.byte_range, policy="any", time=found.time)
    reduced(require_usable(image), size=found.size)  # refuses what no forecast may be made of
    image = found.on_maps(image)
    threshold = default_threshold(image) if options.polarity_threshold is None else options.polarity_threshold
    lines = polarity_lines(image.data, threshold=threshold, method=options.polarity_method, width=options.line_width)
    near = regions_near(regions, image.time, tolerance_hours=options.tolerance_hours)
    of: dict[str, Any] = {"area": options.area, "bitmaps": options.bitmaps, "tolerance_hours": options.tolerance_hours}
    patches = place_regions(near, image, threshold=threshold, **of)
    return found, ImageMaps(image.data, *scaled_maps(found), patches), lines


def region_rows(
    attribution: Attribution, image: ImageMaps, lines: PolarityLines, regions: pd.DataFrame, *, strong_gradient: float
) -> list[dict[str, Any]]:
    """One row per region of an image: what the maps of the flaring label say of it.

    `lon`, `lat` are at the time of the image, `hours` image minus the record of the position, `outline` as of
    `RegionPatch`; `grad_cam` is the region's Grad-CAM value, `grad_cam_raw` that before the ReLU and the scaling,
    `grad_cam_order` 1 for the largest value of the image; the same of `cam`, and `cam_score`, what the region adds to
    the score; `guided_backprop` is the largest scaled gradient; and those of `gradients.line_measures`, of it and, as
    `cam_iou`, of the other maps.
    """
    time, nominal = pd.Timestamp(attribution.time), forecast_time(attribution.time)
    gradient = image.shown["guided_backprop"][..., _FLARE]
    methods = [method for method in CLASS_MAPS if method in image.shown]
    rows: list[dict[str, Any]] = []
    for patch in image.patches:
        row = {"image": attribution.image, "time": nominal, "day": f"{nominal:%Y-%m-%d}", "region": patch.name}
        row |= {"noaa": patch.noaa, "lon": patch.lon, "lat": patch.lat, "outline": patch.outline}
        row["hours"] = (time - regions["time"].loc[patch.index]).total_seconds() / 3600
        row["guided_backprop"] = largest(gradient, patch)
        for method in methods:
            row[method] = largest(image.shown[method][..., _FLARE], patch)
            row[f"{method}_raw"] = largest(image.raw[method][..., _FLARE], patch)
            measured = line_measures(image.shown[method][..., _FLARE], lines, patch, strong=strong_gradient)
            row |= {f"{method}_{name}": measured[name] for name in MEASURES}
        if "cam" in methods:
            row["cam_score"] = float(patch.crop(image.raw["cam"][..., _FLARE])[patch.mask].sum() / image.field.size)
        rows.append(row | line_measures(gradient, lines, patch, strong=strong_gradient))
    for method in methods:
        values = np.array([row[method] for row in rows])
        for row in rows:
            row[f"{method}_order"] = 1 + int((values > row[method]).sum())
    return rows


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
        if self.summary["settings"]["bitmaps"] is not None:
            sizes.append(f"{self.summary['regions_by_bitmap']} regions have the area of their HARP's bitmap")
        printed = self.tables["table2"].set_index("Outcome").T.reset_index(names="mean ± RMS deviation")
        head = f"{self.summary['model']}, {self.summary['flaring']}, decided at {decision:.3g}"
        maps = self.tables["maps"].to_string(index=False, float_format="%.3f", na_rep="-")
        parts = [head, "\n".join(sizes), maps, printed.to_string(index=False)]
        if "alike" in self.tables:
            parts.insert(3, self.tables["alike"].to_string(index=False, float_format="%.3f", na_rep="-"))
        if "figure7" in self.tables:
            columns = ["parameter", "n", "days", "pearson", "pearson_log", "spearman", "yi2021"]
            scaled = self.tables["figure7"].drop_duplicates("parameter")[columns]
            parts.append(scaled.to_string(index=False, float_format="%.2f", na_rep=""))
        parts.append(f"{len(self.files)} tables and figures in {self.files[0].parent}")
        return "\n\n".join(parts)


def analyse(
    files: Sequence[Path], magnetograms: Sequence[Path], output: Path, *, flares: FlareList, regions: pd.DataFrame,
    sharp: pd.DataFrame | None = None, days: Sequence[date] = (), options: AnalysisOptions | None = None
) -> Analysis:  # fmt: skip
    """Analyse the attribution files of one model with their images, and write tables and figures to a folder.

    The flare list must cover the images and name the regions of its flares; `regions` are as from
    `region_tables.read_regions`, `sharp` as from `kflare.sharp.daily.read_sharp_daily` (without it there is no Fig. 7).
    `days` are preferred as examples in Figs. 2 to 5; each also gets a Fig. 2 of its own. Files that cannot be used are
    left out and listed in `failures`; `DataError` where none can be used, or they come from different models.
    """
    chosen = options or AnalysisOptions()
    paths = {path.name: path for path in magnetograms}
    make_folder(output)

    read = partial(read_image, images=paths, regions=regions, options=chosen)
    images, rows, failures = _measured(files, read, regions, chosen)
    model = images["model"].iloc[0]
    threshold = model_spec(model.rpartition(" ")[0]).event
    flux = disk_flux(images["time"], flares)
    outcome = named_outcomes(images["probability"], reaches(flux, threshold), threshold=chosen.decision_threshold)
    images = images.assign(flux24=flux, outcome=outcome)
    own = flux_of_regions(rows["time"], rows["noaa"], flares)
    outcomes = rows["image"].map(images.set_index("image")["outcome"])
    rows = rows.assign(noaa=rows["noaa"].astype("Int64"), outcome=outcomes, flux24=own, flaring=reaches(own, threshold))
    if sharp is not None:
        rows = with_sharp(rows, sharp, tolerance_hours=chosen.tolerance_hours)
    tables = {"maps": map_table(images)} | _tables(rows, chosen, threshold, sharp=sharp is not None)
    if len([method for method in CLASS_MAPS if method in rows]) > 1:
        tables["alike"] = alike_table(images, rows)
    about = {"model": model, "flaring": f">= {threshold}1.0 within 24 h", "flare_scale": flares.scale}
    summary = {**about, **_sizes(images, rows), "not_analysed": len(failures), "settings": asdict(chosen)}
    found = {"images": images.drop(columns="path"), "regions": rows, **tables}
    how: dict[str, Any] = {"index": False, "float_format": "%.6g", "date_format": "%Y-%m-%dT%H:%M:%SZ"}
    written = [write_whole(output / f"{name}.csv", table.to_csv(**how)) for name, table in found.items()]
    written.append(write_whole(output / "summary.json", json.dumps(summary, indent=2, default=str)))

    from kflare.attribution.analysis_figures import write_figures

    limits: dict[str, Any] = {"threshold": threshold, "max_longitude": chosen.max_longitude}
    written += write_figures(images, rows, tables, output, read=read, days=days, **limits)
    return Analysis(found["images"], rows, tables, written, failures, summary)


def _measured(
    files: Sequence[Path], read: Callable[[Path], tuple[Attribution, ImageMaps, PolarityLines]],
    regions: pd.DataFrame, options: AnalysisOptions
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, str]]:  # fmt: skip
    """Tables of images and of regions, and why files could not be used."""
    from kflare.io.progress import progress

    images: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    failures: dict[str, str] = {}
    for path in progress(files, desc="analysing", unit="image"):
        try:
            found, image, lines = read(path)
        except DataError as error:
            failures[str(path)] = str(error)
            continue
        row = {"image": found.image, "time": forecast_time(found.time), "path": str(path)}
        row |= {"model": f"{found.origin.model} {found.origin.version}", "probability": found.probability}
        row |= {"calibrated": found.calibrated, "byte_range": found.byte_range, "regions": len(image.patches)}
        images.append(row | map_measures(found, image))
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
    methods = [method for method in CLASS_MAPS if method in rows]
    by_map = {method: table_2(known, of=method).assign(map=method) for method in ("guided_backprop", *methods)}
    # The paper leaves nulls out of Figs. 6 and 7.
    chosen = known[known["outcome"] != "null"]
    rates = [occurrence_rates(chosen[method], chosen["flux24"]).assign(method=method) for method in methods]
    tables = {"table2_numbers": pd.concat(by_map.values(), ignore_index=True)}
    for method, found in by_map.items():
        ending = "" if method == "guided_backprop" else f"_{method}"
        tables[f"table2{ending}"] = table_2_as_printed(found, threshold=threshold)
    tables["figure6"] = pd.concat(rates, ignore_index=True)
    if sharp:
        inner = rows[(rows["outcome"] != "null") & (rows["lon"].abs() <= options.max_longitude)]
        kinds = (("", "0-1 per image"), ("_raw", "none"), ("_score", "sum over the region"))
        drawn, related = {"resamples": options.resamples, "seed": options.seed}, []
        for (ending, scaling), method in ((kind, method) for method in methods for kind in kinds):
            if (value := f"{method}{ending}") in inner:
                related.append(correlations(inner, value=value, **drawn).assign(method=method, scaling=scaling))
        tables["figure7"] = pd.concat(related, ignore_index=True)
    return tables


def _sizes(images: pd.DataFrame, rows: pd.DataFrame) -> dict[str, Any]:
    def counts(column: pd.Series) -> dict[str, int]:
        return {name: int((column == name).sum()) for name in OUTCOMES}

    flaring = rows[rows["flaring"]]
    events = images[images["outcome"].isin(["hit", "miss"])]
    first, last = (f"{time:%Y-%m-%dT%H:%MZ}" for time in (images["time"].min(), images["time"].max()))
    sizes: dict[str, Any] = {"first": first, "last": last, "images": counts(images["outcome"])}
    sizes |= {"regions": counts(rows["outcome"]), "flaring_regions": counts(flaring["outcome"])}
    sizes["regions_by_bitmap"] = int(rows["outline"].ne(BOX).sum())
    sizes["flaring_images_without_flaring_region"] = int((~events["image"].isin(flaring["image"])).sum())
    if "sharp_hours" in rows:
        hours = rows["sharp_hours"].dropna()
        sizes["regions_with_sharp"] = len(hours)
        sizes["flaring_regions_with_sharp"] = int(rows.loc[hours.index, "flaring"].sum())
        sizes["sharp_hours_median"] = float(hours.abs().median()) if len(hours) else None
    return sizes
