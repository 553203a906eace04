"""The flow chart of one cycle, as Fig. 1 of Nishizuka et al. (2021): what the code fetches, asks and falls back on."""

from pathlib import Path

_FALLS = "#b3541e"
_BOX = {"boxstyle": "round,pad=0.02", "fc": "#e8f0f8", "ec": "#1f4e79"}
_TITLE = {"va": "center", "ha": "center", "fontsize": 10, "weight": "bold"}
_TEXT = {"va": "center", "ha": "center", "fontsize": 8.5}


def write_cycle(path: Path):
    """The picture: steps in the middle, sources at the left, rungs of the ladder at the right."""
    from kflare.archives.near_real_time_data import FEEDS, SOURCES
    from kflare.models.registry import MODELS
    from kflare.operations.forecast import RUNGS
    from kflare.operations.settings import ScheduleSettings

    rule = ScheduleSettings()
    hours = ", ".join(f"{hour:02.0f}" for hour in rule.hours)
    models = ", ".join(model.name for model in MODELS)
    steps = (
        ("Issue time", f"{hours} UT"),
        ("Observe", f"{rule.data_age_first_hours:g} h before, stepping back to {rule.data_age_last_hours:g} h"),
        ("Detect regions", "above 140 G; names and NOAA numbers"),
        ("Measure", "features, with those of 2, 12 and 24 h before"),
        ("Ask the served models", models),
        ("Combine", "$P_{FD} = 1 - \\prod (1 - P_i)$, calibrated; largest class; mark"),
        ("Record", "one transaction of the ledger, append-only"),
        ("Publish", "page, latest.json, CSV, scoreboard"),
        ("Verify", "when the 24 hours are over"),
    )
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.4, 6.4))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 10.4), ylim=(len(steps) - 0.3, -0.7))
    axes.axis("off")
    for row, (title, text) in enumerate(steps):
        _box(axes, 3.1, row, 4.1, title, text)
        if row:
            _arrow(axes, (5.15, row - 0.64), (5.15, row - 0.36))
    names = [source.name for source in SOURCES], [feed.name for feed in FEEDS]
    for row, title, text in ((0, "JSOC, near real time", names[0]), (1.4, "SWPC", [*names[1], "regions"])):
        lines = ", ".join(text).replace("goes_", "").replace("_", " ")
        lines = lines.replace("continuum, ", "continuum,\n")
        _box(axes, 0.1, row, 2.6, title, lines)
        _arrow(axes, (2.72, row), (3.05, 1))
    axes.text(8.85, 2.35, "Rests on, best first", **_TITLE)
    for row, rung in enumerate(RUNGS, start=3):
        _box(axes, 7.6, row, 2.5, rung, "")
        if row > 3:
            _arrow(axes, (8.85, row - 0.64), (8.85, row - 0.36), color=_FALLS)
    _box(axes, 7.6, 3 + len(RUNGS), 2.5, "no forecast", "an outage, never 0 %")
    _arrow(axes, (8.85, 2.36 + len(RUNGS)), (8.85, 2.64 + len(RUNGS)), color=_FALLS)
    _arrow(axes, (7.22, 4), (7.55, 3))
    figure.savefig(path, metadata={"Date": None}, facecolor="white")


def _box(axes, left, row, width, title, text):
    from matplotlib.patches import FancyBboxPatch

    axes.add_patch(FancyBboxPatch((left, row - 0.33), width, 0.66, **_BOX))
    lines = text.count("\n")
    axes.text(left + width / 2, row - (0.14 + 0.04 * lines if text else 0), title, **_TITLE)
    axes.text(left + width / 2, row + 0.14, text, **_TEXT)


def _arrow(axes, start, end, color="#1f4e79"):
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": color, "shrinkA": 0, "shrinkB": 0})
