"""The X-rays of the last three days, the flares in them and the windows of the forecasts, as points of one drawing."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pandas as pd

from kflare.errors import KflareError
from kflare.operations.clock import issue_times
from kflare.operations.forecast import Cycle, Forecast, cycle_name
from kflare.sun.times import within
from kflare.xray.flux import read_xray_flux

REACH: Final = timedelta(days=3)
WIDTH: Final = 960.0
_HEIGHT, _LANE = 200.0, 20.0
_STEP: Final = timedelta(minutes=10)  # maxima of so long: no flare is lost
_LEVELS: Final = {1e-8: "A1", 1e-7: "B1", 1e-6: "C1", 1e-5: "M1", 1e-4: "X1", 1e-3: "X10", 1e-2: "X100"}
_LABEL = 44.0  # width of the name of a flare


def cycle_xrays(folder: Path, issue: datetime) -> pd.DataFrame | None:
    """Ten-minute maxima (`time`, `flux`, W m^-2) of the flux that a cycle fetched; None where that is gone, or none."""
    try:
        flux = read_xray_flux(folder / f"goes_xrays_{cycle_name(issue)}.json").on_scale("irradiance")
    except KflareError:
        return None
    return flux.between(issue - REACH, issue).table.resample(_STEP, on="time")["flux"].max().reset_index()


def days_between(since: datetime, until: datetime) -> list[dict[str, Any]]:
    """The midnights of a span that is `WIDTH` wide, with their labels, which end left of the last ones."""
    at = {f"{day:%d %b}": WIDTH * ((day - since) / (until - since)) for day in issue_times((0.0,), since, until)}
    return [{"x": round(x, 1), "label": day, "end": x > WIDTH - _LABEL} for day, x in at.items() if x < WIDTH]


def sun_curve(
    current: Cycle, past: Sequence[Forecast], xrays: pd.DataFrame | None, flares: pd.DataFrame | None
) -> dict[str, Any]:
    """What the template draws, in units of its view box. Windows overlap: of forecasts by the hour one in six is drawn.

    `past` are the forecasts before, oldest first; `flares` have `start`, `peak`, `goes_class` and `flux`.
    """
    since, until = current.issue - REACH, current.issue + timedelta(days=1)
    known = [] if flares is None else flares[within(flares["start"], since, current.issue)].to_dict("records")
    values = [] if xrays is None else list(zip(xrays["time"], xrays["flux"], strict=True))
    seen = [1e-7, 1e-4, *(flux for _, flux in values if flux > 0), *(one["flux"] for one in known)]
    bottom, top = max(math.floor(math.log10(min(seen))), -8), min(math.floor(math.log10(max(seen))) + 1, -2)

    def x(time: datetime) -> float:
        return round(min(max(WIDTH * ((time - since) / (until - since)), 0.0), WIDTH), 1)

    def y(flux: float) -> float:
        return round(_HEIGHT * min(max((top - math.log10(flux)) / (top - bottom), 0.0), 1.0), 1)

    path, joined = "", False
    for time, flux in values:
        if flux > 0:
            path += f"{'L' if joined else 'M'}{x(time + _STEP / 2)} {y(flux)}"
        joined = flux > 0  # NaN breaks the line
    marks: list[dict[str, Any]] = []
    for one in sorted(known, key=lambda one: -one["flux"]):
        place = x(one["start"] if pd.isna(one["peak"]) else one["peak"])
        named = one["flux"] >= 1e-5 and all(abs(place - other["x"]) > _LABEL for other in marks if other["named"])
        marks.append(one | {"x": place, "y": y(one["flux"]), "named": named})
    chosen: list[Forecast] = []
    for forecast in (*([current] if isinstance(current, Forecast) else []), *reversed(past)):
        if forecast.window_end > since and (not chosen or chosen[-1].issue - forecast.issue >= timedelta(hours=6)):
            chosen.append(forecast)
    bars, ends = [], list[datetime]()  # of the lanes
    for forecast in reversed(chosen):
        lane = next((at for at, end in enumerate(ends) if end <= forecast.window_start), len(ends))
        ends[lane : lane + 1] = [forecast.window_end]
        left, width = x(forecast.window_start), x(forecast.window_end) - x(forecast.window_start)
        bars.append({"forecast": forecast, "x": left, "width": width, "y": _HEIGHT + 34 + _LANE * lane})
    levels = [{"y": y(flux), "label": label} for flux, label in _LEVELS.items() if bottom <= math.log10(flux) <= top]
    return {
        "width": WIDTH, "height": _HEIGHT, "lane": _LANE, "lanes": len(ends), "days": days_between(since, until),
        "levels": levels, "path": path, "flares": marks, "bars": bars, "now": x(current.issue),
    }  # fmt: skip
