"""Forecast: one cycle, or the schedule of 03, 09, 15 and 21 UT. Observe, detect, measure, ask, record, publish."""

import argparse
import gc
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kflare.commands import command_line
from kflare.errors import DataError, LedgerError, SettingError

if TYPE_CHECKING:
    from kflare.operations.event_log import EventLog
    from kflare.operations.ledger import Ledger
    from kflare.operations.running import CycleResult
    from kflare.operations.settings import ForecastSettings


def _forecast(args: argparse.Namespace) -> int:
    from kflare.operations.settings import ForecastSettings, as_toml, read_settings

    if args.issue is not None and args.issue > (args.now or datetime.now(UTC)):
        raise SettingError(f"`--issue` must not lie in the future, got {args.issue:%Y-%m-%dT%H:%MZ}")
    settings = read_settings(args.settings) if args.settings.exists() or not args.print_settings else ForecastSettings()
    if args.print_settings:
        print(as_toml(settings), end="")
        return 0
    if args.upgrade_ledger:
        from kflare.operations.database import upgrade_database

        before, after = upgrade_database(settings.ledger.url)
        print(f"ledger: schema {before or 'none'} -> {after}")
        return 0
    from kflare.operations.event_log import EventLog
    from kflare.operations.ledger import Ledger

    log = EventLog("-" if args.status else settings.log.path)  # a monitor changes nothing
    if args.schedule:
        from kflare.operations.running import open_ledger, run_schedule

        with open_ledger(settings, log=log) as ledger:
            run_schedule(settings, ledger=ledger, log=log)
        return 0
    with Ledger(settings.ledger.url, begin=args.once) as ledger:
        if args.export is not None:
            from kflare.operations.outcomes import export_training_data

            print(export_training_data(ledger, args.export))
            return 0
        if args.verify_ledger is not None:
            return _verify(ledger, args.verify_ledger)
        if args.status:
            from kflare.operations.status import EXIT_STATUS, status

            found = status(settings, ledger, now=args.now or datetime.now(UTC))
            print(json.dumps(found, indent=2))
            return EXIT_STATUS[found["state"]]
        return _one(args, settings, ledger, log)


def _verify(ledger: "Ledger", digest: str) -> int:
    if faults := ledger.faults(digest):
        more = f"; and {len(faults) - 10} more" if len(faults) > 10 else ""
        raise LedgerError(f"the ledger was changed behind the database's back: {'; '.join(faults[:10])}{more}")
    if (link := ledger.newest_link()) is None:
        raise LedgerError("the ledger is empty: nothing to verify; check that `ledger.url` is the right one")
    number, newest = link
    print(f"ledger: {number} records, as they were recorded; newest digest {newest}")
    return 0


def _one(args: argparse.Namespace, settings: "ForecastSettings", ledger: "Ledger", log: "EventLog") -> int:
    (gc.disable if args.publish else gc.enable)()  # a publication ends soon: a fifteenth of it was collecting
    from kflare.operations.clock import clock_behind, late_remark, latest_issue, next_issue
    from kflare.operations.running import CycleResult, publish_and_newest, run_once
    from kflare.operations.status import EXIT_STATUS, outcome_of

    now = args.now or datetime.now(UTC)
    if args.publish:
        if not args.issue and (behind := clock_behind(now, settings, newest=None, last=ledger.last_run())):
            raise DataError(behind)
        issue = args.issue or ledger.last_issue(now)
        if issue is None or (cycle := ledger.cycle(issue)) is None:
            raise SettingError(f"the ledger holds no cycle of {issue or 'any issue time'}: run --once first")
        done = CycleResult(cycle, publish_and_newest(cycle, settings, ledger, log.of_cycle(cycle.cycle_id), now=now))
    else:
        issue = args.issue or latest_issue(settings.schedule.hours, now)
        for late in late_remark(issue, settings, [now]):
            rule = f"more than schedule.grace_minutes ({settings.schedule.grace_minutes:g}), from the data of then"
            due = f"the next issue time is {next_issue(settings.schedule.hours, now):%Y-%m-%dT%H:%MZ}"
            print(f"{args.prog}: issue {issue:%Y-%m-%dT%H:%MZ} is {late}, {rule}; {due}", file=sys.stderr)
        done = run_once(issue, settings, ledger=ledger, log=log, now=now, past=args.issue is not None)
    print(json.dumps(done.cycle.as_json(), indent=2) if args.json else _as_text(done))
    if done.kept is not None:
        return EXIT_STATUS["unrecorded"]
    return EXIT_STATUS["unpublished" if done.unpublished else outcome_of(done.cycle)]


def _as_text(done: "CycleResult") -> str:
    from kflare.operations.forecast import Outage

    cycle = done.cycle
    lines = [f"issue {cycle.issue:%Y-%m-%dT%H:%MZ}"]
    if isinstance(cycle, Outage):
        lines.append(f"no forecast: {cycle.reason}")
    else:
        lines.append(f"rung: {cycle.rung}" + (f" ({cycle.rung_reason})" if cycle.rung_reason else ""))
        for name, probability in cycle.full_disk.items():
            lines.append(f"full disk, class {name} and above in 24 h: {probability.headline}")
        lines.append("(calibrated probability; network's score of 0 to 100, where 50 is the climatological rate)")
        mark = cycle.mark or "not known"
        if cycle.score_mark not in (None, cycle.mark):
            mark += f" (by the paper's score: {cycle.score_mark})"
        lines.append(f"mark: {mark}; {len(cycle.regions)} regions")
    lines += [f"in full: {detail}" for detail in cycle.details]
    if done.kept is not None:
        lines.append(f"not recorded, the ledger is away: kept in {done.kept} for the next run")
    return "\n".join([*lines, *(f"not published: {failure}" for failure in done.unpublished)])


main = command_line.Command("forecast", __doc__, _forecast)
