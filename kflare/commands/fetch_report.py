"""What `kflare.fetch` prints of what it got, did not get, and compared."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from kflare.archives.downloads import FileResult
    from kflare.archives.near_real_time_data import NrtResult

_LISTED = 50


def outcome_table(outcomes: "Sequence[FileResult]") -> str:
    """How many of each kind, then each that is missing or rejected, or got in another's place."""
    kinds = ("got", "already there", "missing", "rejected")
    counts = {kind: sum(outcome.status == kind for outcome in outcomes) for kind in kinds}
    size = sum(outcome.size for outcome in outcomes if outcome.status == "got")
    lines = [
        f"{kind:14}{count:7}{f'  {size / 1e6:.1f} MB' if kind == 'got' and count else ''}"
        for kind, count in counts.items()
    ]
    listed = [outcome for outcome in outcomes if outcome.reason or outcome.note or _substitute(outcome)]
    for outcome in listed[:_LISTED]:
        asked = f"{outcome.asked:%Y-%m-%dT%H:%MZ}" if outcome.asked else ""
        words = "; ".join(filter(None, (_substitute(outcome), outcome.note, outcome.reason)))
        lines.append(f"{outcome.status:14}{asked:18}{outcome.label}: {words}")
    if len(listed) > _LISTED:
        lines.append(f"and {len(listed) - _LISTED} more; --json lists all")
    return "\n".join(lines)


def _substitute(outcome: "FileResult") -> str:
    # A record lies up to a slot of 12 min before the time that it is the one of.
    if outcome.path is None or outcome.asked is None or outcome.time is None:
        return ""
    early = outcome.asked - outcome.time
    return f"of {outcome.time:%Y-%m-%dT%H:%M:%SZ} instead" if early >= timedelta(minutes=12) else ""


def result_line(result: "NrtResult") -> str:
    """What was found of one kind of near-real-time data, or why not."""
    if result.time is None or result.age is None:
        return f"{result.name:14}no data   {result.reason}"
    quality = "" if result.quality is None else f"  QUALITY 0x{result.quality:08x}"
    notes = f"; {'; '.join(result.notes)}" if result.notes else ""
    hours = result.age.total_seconds() / 3600
    count = f"{len(result.files)} file{'s' if len(result.files) != 1 else ''}"
    return f"{result.name:14}data      {result.time:%Y-%m-%dT%H:%M:%SZ}  {hours:.2f} h old{quality}  {count}{notes}"


def fidelity_text(report: "pd.DataFrame") -> str:
    """The pairs of `fidelity_report`, their notes, and the paper's means."""
    names = {one: [Path(path).name for path in report[one]] for one in ("first", "second")}
    shown = report.drop(columns="note").assign(**names)
    lines = [shown.to_string(index=False, na_rep="-", float_format=lambda value: f"{value:.3f}")]
    noted = zip(names["first"], names["second"], report["note"], strict=True)
    lines += [f"{first}, {second}: {note}" for first, second, note in noted if note]
    published = (
        f"{name} {', '.join(f'{key} {one}' for key, one in value.items()) if isinstance(value, dict) else value}"
        for name, value in report.attrs["published"].items()
    )
    return "\n".join([*lines, f"means of Yi et al. 2021, section 2: {'; '.join(published)}"])
