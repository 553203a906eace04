#!/usr/bin/env python
"""Take the pictures of the site in docs/, in Chromium, from a week of a made-up Sun: `kflare demo DEMO`, then this.

tools/site_pictures.py DEMO [--output docs]
"""

import argparse
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
from PIL import Image

from kflare.operations.event_log import EventLog
from kflare.operations.forecast import MAGNETOGRAM_ONLY, Forecast, Outage, Probability, cycle_name
from kflare.operations.ledger import Ledger
from kflare.operations.publish.publication import Publication
from kflare.operations.publish.site import publish_site
from kflare.operations.settings import ForecastSettings, read_settings

ROOT = Path(__file__).resolve().parents[1]
# tf-keras-vis installs a package `tests`, which would be found first.
sys.modules["tests"] = ModuleType("tests")
sys.modules["tests"].__path__ = [str(ROOT / "tests")]

HOUR = timedelta(hours=1)
DESK, PHONE, WALL = (1280, 1600), (390, 844), (1920, 1080)
COLOURS = 256  # of a picture, so that it is small


def write_xrays(cycle: Forecast | Outage, settings: ForecastSettings, ledger: Ledger) -> None:
    """What SWPC's feed of X-rays would have said of the flares of a ledger."""
    from tests.observation_sets import xray_flux

    flares = ledger.flares(cycle.issue - timedelta(days=5), cycle.issue).table
    minutes = pd.date_range(cycle.issue - timedelta(days=3), cycle.issue, freq="min", inclusive="left", unit="us")
    records = [
        {"time_tag": f"{time:%Y-%m-%dT%H:%M:%SZ}", "satellite": 16, "flux": float(flux), "energy": "0.1-0.8nm"}
        for time, flux in zip(minutes, xray_flux(flares, minutes), strict=True)
    ]
    folder = settings.data.issue_folder(cycle.issue)
    folder.mkdir(exist_ok=True)
    (folder / f"goes_xrays_{cycle_name(cycle.issue)}.json").write_text(json.dumps(records))


def cycles_to_show(ledger: Ledger) -> dict[str, Forecast | Outage]:
    """The newest forecast, and what else may stand in its place."""
    last = ledger.last_issue()
    assert last is not None
    past = ledger.cycles(last - timedelta(days=7), last + HOUR)
    forecasts = [cycle for cycle in past if isinstance(cycle, Forecast)]
    newest = forecasts[-1]
    quiet = next(one for one in reversed(forecasts) if one.mark == "Quiet")
    if newest.mark != "Warning":
        sys.exit(f"the newest forecast is marked {newest.mark}, not Warning: demonstrate --until another day")
    spotless = replace(
        newest, regions=(), full_disk=dict.fromkeys("CMX", Probability(0.01, 0.01)), remarks=("no sunspot",),
        rung=MAGNETOGRAM_ONLY, rung_reason="no active region on the disk, so there is nothing to measure",
    )  # fmt: skip
    missing = replace(newest.inputs[0], record="", time=None, age_hours=None, note="no answer", status="missing")
    issue = newest.next_issue
    outage = Outage(
        cycle_name(issue), issue, "no data: no magnetogram", (missing, *newest.inputs[1:]), issue + 6 * HOUR
    )
    return {"newest": newest, "quiet": quiet, "no-sunspot": spotless, "no-data": outage}


def with_few_colours(picture: Image.Image) -> Image.Image:
    """The picture in so few colours: half the most frequent ones, and half for what is rare, as the violet of X."""
    every = sorted(picture.getcolors(picture.width * picture.height), reverse=True)
    frequent = [channel for _, colour in every[: COLOURS // 2] for channel in colour]
    rare = picture.quantize(COLOURS // 2, Image.Quantize.MAXCOVERAGE).getpalette()
    palette = Image.new("P", (1, 1))
    palette.putpalette([*frequent, *rare])
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def main() -> None:
    """Take them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="folder that `kflare demo` filled")
    parser.add_argument("--output", type=Path, default=ROOT / "docs")
    args = parser.parse_args()
    settings = read_settings(args.demo / "kflare.toml")
    with tempfile.TemporaryDirectory() as place, Ledger(settings.ledger.url) as ledger, chromium() as browser:
        cycles = cycles_to_show(ledger)
        for kind, cycle in cycles.items():
            write_xrays(cycle, settings, ledger)
            publish_site(Publication(cycle, settings, ledger, EventLog("-")), Path(place) / kind)

        def take(name: str, kind: str, size: tuple[int, int] = DESK, *, page: str = "index.html", scheme: str = "light",
                 after: float = 0.7) -> None:  # fmt: skip
            context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
            tab = context.new_page()
            tab.clock.install(time=cycles[kind].issue + after * HOUR)
            tab.goto((Path(place) / kind / page).resolve().as_uri())
            shown = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
            context.close()
            with_few_colours(shown).save(args.output / f"site_{name}.png", optimize=True)

        take("desktop", "quiet")
        take("warning", "newest")
        take("dark", "newest", scheme="dark")
        take("wall", "newest", WALL, page="wall.html", scheme="dark")
        take("recent", "newest", (1280, 1100), page="recent.html")
        take("no_data", "no-data", (1280, 1300))
        take("no_sunspot", "no-sunspot", (1280, 1000))
        take("out_of_date", "newest", (1280, 700), after=9.0)
        take("phone", "newest", PHONE)


if __name__ == "__main__":
    main()
