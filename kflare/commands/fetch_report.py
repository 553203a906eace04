"""What `kflare.fetch` prints of what it got, did not get, and compared."""

import re
from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby
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
    runs = [list(run) for _, run in groupby(listed, lambda one: (one.status, one.label, _cause(_words(one))))]
    for run in runs[:_LISTED]:
        asked = " to ".join(f"{one.asked:%Y-%m-%dT%H:%MZ}" for one in dict.fromkeys((run[0], run[-1])) if one.asked)
        times = f"{len(run)} times, " if len(run) > 1 else ""
        lines.append(f"{run[0].status:14}{f'{asked} ' * bool(asked)}{run[0].label}: {times}{_words(run[0])}")
    if len(runs) > _LISTED:
        lines.append(f"and {len(runs) - _LISTED} more; --json lists all")
    return "\n".join(lines)


def unanswered(outcomes: "Sequence[FileResult]") -> str:
    """Why no server gave any answer, in one line for all that was asked for; "" if one did."""
    silent = all(one.status == "missing" and one.again for one in outcomes)
    return f"no answer to any of {len(outcomes)} questions, {outcomes[0].reason}" if silent and outcomes else ""


def one_reason(reasons: Sequence[str]) -> str:
    """The reason, if several are the same but for the names of files; else ""."""
    return reasons[0] if len(reasons) > 1 and len({_cause(reason) for reason in reasons}) == 1 else ""


def _words(outcome: "FileResult") -> str:
    return "; ".join(filter(None, (_substitute(outcome), outcome.note, outcome.reason)))


def _cause(words: str) -> str:
    """What of a reason does not differ from file to file."""
    names = r"`[^`]*`|\(asked .*?\)|no answer: |not asked again after \d+ times without an answer: "
    return re.sub(names, "", words).strip()


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
