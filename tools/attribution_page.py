"""Write docs/attribution.md and its pictures: what the maps of the released full-disk models are worth.

    KFLARE_DATA=DIR python tools/attribution_page.py [--every DAYS]

Attributes the daily magnetograms, analyses and controls the maps through the same code as the commands, and puts every
figure into the page. What was attributed before is not attributed again. Two free cores take about ten minutes for
every third day of both models.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
DAY = "2013-10-23"
CONTROLLED = ("20131020", "20131028")
PARAMETERS = ("TOTUSJZ", "TOTUSJH", "USFLUX", "TOTPOT", "SAVNCPP", "ABSNJZH", "MEANPOT", "MEANSHR", "SHRGT45")
# Of Table 2 in Yi et al. (2021), in hits: flaring and quiet regions.
PAPER_HITS = {"iou": (".112", ".069"), "pil_non_pil": ("4.00", "3.82"), "pil_boundary": ("3.77", "3.82")}
LIMB = 0.92  # radii from disk centre
MEASURES = {
    "iou": "IoU of inversion line and guided gradient",
    "pil_non_pil": "gradient on / off the inversion line",
    "pil_boundary": "gradient on the line / on other boundaries",
}
NAMES = {"grad_cam": "Grad-CAM", "cam": "CAM"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=ROOT / "savedmodels", metavar="DIR", help="models' folder")
    parser.add_argument("--every", type=int, default=3, metavar="DAYS", help="take each n-th day (default: 3)")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "attribution", metavar="DIR", help="for the maps")
    parser.add_argument("--docs", type=Path, default=DOCS, metavar="DIR", help="where the page goes (default: docs)")
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.path.insert(0, str(ROOT))
    data = Path(os.environ["KFLARE_DATA"])
    every = sorted((data / "hmi_daily").glob("*.jpg"))
    shown = [path for path in every if DAY.replace("-", "") in path.name]
    days = sorted({*every[:: args.every], *shown})
    controlled = [path for path in every if CONTROLLED[0] <= path.name.split("_")[1] <= CONTROLLED[1]]
    found = {name: analysed(args.models / name, days, data, args.work / name) for name in ("cnn-m", "cnn-c")}
    tables = controlled_maps(args.models / "cnn-m", controlled)
    october = [path for path in every if path.name.split("_")[1].startswith("201310")]
    more = ("grad_cam_plus_plus",)
    tables["alike"] = analysed(args.models / "cnn-m", october, data, args.work / "october", *more).tables["alike"]
    tables["labels"] = labels(args.models / "cnn-m", days, args.work / "cnn-m")
    text = page(found, tables, args.every, len(controlled), args.docs)
    (args.docs / "attribution.md").write_text(f"{text}\n", encoding="utf-8")


def analysed(model: Path, images: Sequence[Path], data: Path, folder: Path, *more: str) -> Any:
    """Export and analysis of a model, of `more` methods too; the page's pictures lie in the folder's `analysis`."""
    from kflare.attribution.analysis import AnalysisOptions, analyse
    from kflare.attribution.published import PublishedModel
    from kflare.attribution.region_tables import read_regions
    from kflare.commands.analyse import attribution_files
    from kflare.commands.attribute import main as attribute
    from kflare.flares.repairing import read_flares
    from kflare.sharp.daily import read_sharp_daily

    published = PublishedModel.find(model)
    folder /= f"{published.origin.version}-{published.origin.digest}"
    wanted = ["--model", str(published.folder), "--output", str(folder), *(["--methods", *more] if more else [])]
    if attribute([*map(str, images), "--byte-range", "250", *wanted]):
        sys.exit(f"{model} could not be attributed")
    return analyse(
        attribution_files(folder, images),
        images,
        folder / "analysis",
        flares=read_flares(data / "goes" / "swpc_flares_2010-2025.csv"),
        regions=read_regions(data / "regions" / "srs_1996-2018.csv"),
        sharp=read_sharp_daily(data / "sharp" / "sharp_noaa_daily_2010-2019.csv"),
        days=[pd.Timestamp(DAY).date()],
        options=AnalysisOptions(
            decision_threshold=published.threshold, methods=("grad_cam", "cam", *more), resamples=300
        ),
    )


def labels(model: Path, images: Sequence[Path], folder: Path) -> pd.DataFrame:
    """What the maps of both labels show of each image, in what `analysed` wrote to the folder."""
    from kflare.attribution.attribution_file import LABELS, read_attribution
    from kflare.attribution.image_maps import scaled_maps
    from kflare.attribution.published import PublishedModel
    from kflare.commands.analyse import attribution_files

    origin, rows = PublishedModel.find(model).origin, []
    for path in attribution_files(folder / f"{origin.version}-{origin.digest}", images):
        found = read_attribution(path)
        on_disk, shown, raw = found.frame.on_disk, *scaled_maps(found)
        far = np.hypot(*(np.indices(on_disk.shape) - (len(on_disk) - 1) / 2)) / np.sqrt(on_disk.sum() / np.pi)
        limb, of = on_disk & (far > LIMB), {name: LABELS.index(name) for name in LABELS}
        row = {}
        for name, number in of.items():
            guided = shown["guided_backprop"][..., number]
            row |= {name: (guided[on_disk] >= 0.1).mean(), f"{name} limb": (guided[limb] >= 0.1).mean()}
            row[f"{name} strongest"] = guided[limb].max()
        one, other = (raw["grad_cam"][..., of[name]][on_disk] for name in ("flare", "no_flare"))
        rows.append(row | {"r": np.corrcoef(one, other)[0, 1], "positive": other.max() / one.max()})
    return pd.DataFrame(rows)


def controlled_maps(model: Path, images: Sequence[Path]) -> dict[str, pd.DataFrame]:
    """The controls of a model's maps."""
    from kflare.attribution.controls import controls, network_inputs
    from kflare.attribution.published import PublishedModel

    published = PublishedModel.find(model)
    return controls(published.network(), network_inputs(images, size=published.size, byte_range=250)[0])


def page(found: dict[str, Any], tables: dict[str, pd.DataFrame], every: int, controlled: int, docs: Path) -> str:
    """The page as Markdown; copies its pictures."""
    analysis = found["cnn-m"]
    first, last = (analysis.images["time"].iloc[end].date() for end in (0, -1))
    models = ", ".join(found[name].summary["model"].replace(" ", " version ") for name in found)
    step = "all" if every == 1 else f"every {'third' if every == 3 else f'{every}th'}"
    pictures = {"figure2_20131023": "20131023", "figure6": "figure6", "figure6_cam": "figure6_cam",
                "figure7_cam": "figure7_cam"}  # fmt: skip
    for source, name in pictures.items():
        copied(next(path for path in analysis.files if path.name == f"{source}.png"), docs / f"attribution_{name}.png")
    return f"""# Where the dense CNN looks

The maps of {models} on {len(analysis.images)} daily HMI magnetograms of {first} to {last} ({step} of 654 days, those
of the training too). Every number here is made by `python tools/attribution_page.py`; what it does by these:

```sh
python -m kflare.attribute hmi_daily --byte-range 250 --model savedmodels/cnn-m \\
    --flares swpc_flares_2010-2025.csv --regions srs_1996-2018.csv
python -m kflare.analyse attributions/cnn-m hmi_daily --model savedmodels/cnn-m \\
    --flares swpc_flares_2010-2025.csv --regions srs_1996-2018.csv --sharp sharp_noaa_daily_2010-2019.csv \\
    --days {DAY}
python -m kflare.controls hmi_daily --from 2013-10-20 --until 2013-10-28 --byte-range 250 --model savedmodels/cnn-m
```

## Two maps, and how much of the forecast each explains

The paper looks at Grad-CAM on the last convolution. Behind that layer everything is linear, so Grad-CAM there is CAM,
but of the 39 channels of that layer alone; 182 more pass it by on their way to the score. **CAM** here is that of all
221, each group of channels at its own resolution, less that of a Sun without field in the same frame: its mean over
the image *is* the score of the label (before the soft-max), up to a constant, the score of the Sun without field.
What it shows adds up to the forecast; what Grad-CAM shows need not.

{maps(found)}

*R²*: squared correlation, over the days, of the map's mean with the log-odds of the forecast. *Share*: of the score,
less that of a Sun without field, what the map's channels make (median; in the table of `kflare.attribute` for each
image). *Inside / outside*: mean of the map after its ReLU in NOAA's regions over that on the rest of the disk (median
of hits). *In a region*: days with a region on the disk on which the map's maximum lies in one. *Above half*: share of
the disk (median). {same(found)}

## One day: {DAY}

{day(analysis)}

![Magnetogram, guided backpropagation, Grad-CAM and CAM of {DAY}](attribution_20131023.png)

## All days

{counts(analysis)} In brackets: 95 % by days drawn with replacement.

{correlations(analysis)}

Records of SHARP parameters within 12 h are taken: the table at hand is selected by the future (rows at any hour only
for flaring regions). "Sum" is what the region adds to the score.

{gradients(analysis)}

All but the paper's definitions is reconstruction, and an option: at 4.3″ a pixel a line four pixels wide covers much
of a region, our regions are boxes about NOAA positions (where a HARP's bitmap is at hand `--bitmaps` takes its area;
of these days none is), and the paper does not say how it draws its masks.

![Flare occurrence rate of regions by their CAM value](attribution_figure6_cam.png)

![The same by their Grad-CAM value](attribution_figure6.png)

![SHARP parameters of regions by their CAM value](attribution_figure7_cam.png)

## How far to trust the maps

`cnn-m`, {controlled} active days of October 2013.

**Model randomisation** (Adebayo et al. 2018): rank correlation of each map with itself after the weights were
shuffled, from the output down to a layer. A map that explains the network falls towards 0; one that stays high shows
the image. CAM is 0 off the disk and nearly so in the quiet Sun whatever the weights, as that is its baseline: this
alone makes ranks agree.

{markdown(randomisation(tables["randomisation"]))}

**Deletion** (Petsiuk et al. 2018): probability of a flare while the disk's field is set to zero in the order of each
map, by the share of 16×16 cells. The lower beside `random`, the better the map.

{markdown(tables["deletion"].iloc[[0, 1, 2, 4, 8]].rename(columns={"fraction": "cells"}))}

**Agreement**: rank correlation of the maps with each other, before their ReLU. Grad-CAM++ has one by definition, so
that it is 0 where Grad-CAM is negative; after both, `kflare.analyse` says in alike.csv how little the two differ.

{markdown(tables["agreement"].rename(columns={"method": ""}))}

**Grad-CAM++ beside Grad-CAM**, {alike(tables["alike"])}

## The other label

Training sees only the difference of the two scores, so the map of "no flare" tends towards minus that of "flare".
{other_label(tables["labels"])}"""


def alike(table: pd.DataFrame) -> str:
    """How little Grad-CAM++ differs from Grad-CAM after their ReLU."""
    row = table.set_index(["one", "other"]).loc[("grad_cam", "grad_cam_plus_plus")]
    told = f"all {int(row['images'])} images of October 2013, after the ReLU of both: rank correlation"
    same, apart = percent(row["same_region"]), f"{row['largest_difference']:.2f}"
    return (
        f"{told} {row['rank_correlation']:.3f};\nthe strongest region is the same on {same} of the days, and the "
        f"values of regions (0 to 1) differ by {apart} at most."
    )


def other_label(table: pd.DataFrame) -> str:
    """What Figs. 3 and 4 show of both labels, over the days: medians, and 5 to 95 % of the days in brackets."""

    def middle(name: str, *, share: bool = True) -> str:
        low, value, high = (percent(one) if share else f"{one:.2f}" for one in table[name].quantile([0.05, 0.5, 0.95]))
        return f"{value} ({low} to {high})"

    return f"""Of `cnn-m` on the days above, medians, and 5 to 95 % of the days in brackets:

* Grad-CAM of the two labels, before the ReLU: r = {table["r"].median():.3f}, {table["r"].max():.3f} at most. After it
  the map of "no flare" reaches {middle("positive", share=False)} of the maximum of "flare".
* Guided backpropagation reaches a tenth of its maximum on {middle("flare")} of the disk for "flare", on
  {middle("no_flare")} for "no flare".
* Beyond {LIMB:g} radii it does so on {middle("flare limb")} and {middle("no_flare limb")} of the pixels; the
  strongest there is {middle("flare strongest", share=False)} and {middle("no_flare strongest", share=False)}."""


def maps(found: dict[str, Any]) -> str:
    """Table of what each map explains and where it points."""
    lines = ["| model | map | R² | share | inside / outside | in a region | above half |", "| --- " * 7 + "|"]
    for name, analysis in found.items():
        table = analysis.tables["maps"].set_index(["method", "outcome"])
        for method, called in NAMES.items():
            whole, hits = table.loc[(method, "all")], table.loc[(method, "hit")]
            peaks = f"{whole['in_region']:.0f} of {whole['with_region']:.0f}"
            numbers = [f"{whole['explained']:.3f}", percent(whole["share"]), f"{hits['inside_outside']:.1f}", peaks]
            numbers.append(percent(whole["above_half"]))
            lines.append(f"| {' | '.join([f'`{name}`', called, *numbers])} |")
    return "\n".join(lines)


def same(found: dict[str, Any]) -> str:
    """Whether the two models rank days alike."""
    one, other = (found[name].images.set_index("image")["log_odds"] for name in ("cnn-m", "cnn-c"))
    return f"The log-odds of the two models correlate by {np.corrcoef(one, other.reindex(one.index))[0, 1]:.4f}."


def day(analysis: Any) -> str:
    """What the model said of the day that is shown, and its regions."""
    from kflare.flares.catalogue import flux_to_class

    image = analysis.images[analysis.images["time"].dt.strftime("%Y-%m-%d") == DAY].iloc[0]
    regions = analysis.regions[analysis.regions["image"] == image["image"]].sort_values("cam_score", ascending=False)
    share = percent(image["grad_cam_share"])
    lines = [
        (
            f"Probability {image['probability']:.2f}, calibrated {image['calibrated']:.2f}. The score is that of a Sun "
            f"without field and {image['cam_mean']:.2f}, of which the channels of Grad-CAM make {share}. The paper has "
            "11875 before 11877."
        ),
        "",
        "| region | longitude | largest flare in 24 h | adds to the score | CAM, 0–1 | Grad-CAM, 0–1 |",
        "| --- " * 6 + "|",
    ]
    for row in regions.head(8).to_dict("records"):
        flare = flux_to_class(row["flux24"]) if row["flux24"] > 0 else "–"
        values = (f"{row[method]:.2f} ({row[f'{method}_order']})" for method in ("cam", "grad_cam"))
        lines.append(
            f"| {row['region']} | {row['lon']:.0f}° | {flare} | {row['cam_score']:.2f} | {' | '.join(values)} |"
        )
    return "\n".join([*lines, "", "In brackets the order of the regions by each map."])


def counts(analysis: Any) -> str:
    """Sample sizes."""
    images, regions, flaring = (analysis.summary[key] for key in ("images", "regions", "flaring_regions"))
    names = ("hit", "miss", "false alarm")
    told = "{} hits, {} misses, {} false alarms".format(*(images[name] for name in names))
    number, active = (sum(counted[name] for name in names) for counted in (regions, flaring))
    decision = analysis.summary["settings"]["decision_threshold"]
    return f"`cnn-m`, decided at {decision:.2g}: {told}, with {number} regions, {active} of them with a flare ≥ M1.0."


def correlations(analysis: Any) -> str:
    """Pearson's r of the maps' values with SHARP parameters, beside the paper's."""
    table = analysis.tables["figure7"].set_index(["method", "scaling", "parameter"])
    kinds = {"Grad-CAM, 0–1": ("grad_cam", "0-1 per image"), "CAM, 0–1": ("cam", "0-1 per image"),
             "CAM, sum": ("cam", "sum over the region")}  # fmt: skip
    number = table["n"].max()
    lines = [f"| Pearson r within 60° (n ≤ {number}) | {' | '.join(kinds)} | paper |", "| --- " * 5 + "|"]
    for name in PARAMETERS:
        cells = []
        for kind in kinds.values():
            row = table.loc[(*kind, name)]
            cells.append(f"{row['pearson']:.2f} [{row['pearson_low']:.2f}, {row['pearson_high']:.2f}]")
        lines.append(f"| {name} | {' | '.join(cells)} | {row['yi2021']:.2f} |")
    return "\n".join(lines)


def gradients(analysis: Any) -> str:
    """The part of Table 2 that is of hits."""
    numbers = analysis.tables["table2_numbers"]
    table = numbers[numbers["map"] == "guided_backprop"].set_index(["outcome", "measure", "flaring"])
    lines = ["| hits, mean ± RMS deviation: flaring regions, quiet ones | here | paper |", "| --- " * 3 + "|"]
    for name, told in MEASURES.items():
        cells = [table.loc[("hit", name, flaring)] for flaring in (True, False)]
        here = ", ".join(f"{cell['mean']:.3g} ± {cell['rms']:.2g} (n = {cell['regions']:.0f})" for cell in cells)
        lines.append(f"| {told} | {here} | {', '.join(PAPER_HITS[name])} |")
    return "\n".join(lines)


def randomisation(table: pd.DataFrame) -> pd.DataFrame:
    """The stages that the page shows: the output, and the last layer of each block."""
    stages = table["randomised_down_to"]
    return table[(stages == "logits") | stages.str.endswith("conv3x3")].rename(
        columns={"randomised_down_to": "down to"}
    )


def markdown(table: pd.DataFrame) -> str:
    """A table of numbers."""
    head = [f"`{name}`" if name and " " not in name else name for name in map(str, table)]
    lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    rows = (
        (f"{cell:.3f}" if isinstance(cell, float) else f"`{cell}`" for cell in row) for row in table.to_numpy(object)
    )
    return "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in rows)])


def percent(share: float) -> str:
    """A share, as a page shows it."""
    return f"{100 * share:.1f} %" if abs(share) < 0.1 else f"{100 * share:.0f} %"


def copied(source: Path, target: Path) -> None:
    """A picture of at most 1000 pixels in width, in 256 colours."""
    with Image.open(source) as picture:
        small = picture.convert("RGB")
    if small.width > 1000:
        small = small.resize((1000, round(1000 * small.height / small.width)), Image.Resampling.LANCZOS)
    small.quantize(256, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    main()
