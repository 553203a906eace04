"""Download observations: archives over a range of dates, or what a forecast is made from, near real time."""

import argparse
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kflare.commands import command_line
from kflare.commands.fetch_report import fidelity_text, one_reason, outcome_table, result_line, unanswered
from kflare.commands.fetch_study import Told, fetch_study
from kflare.errors import DataError, SettingError
from kflare.io.atomic import make_folder
from kflare.io.progress import progress

if TYPE_CHECKING:
    from kflare.archives.downloads import FileRequest, FileResult
    from kflare.archives.jsoc import Jsoc
    from kflare.archives.web import Web

_BAR: Final = {"unit": "file", "leave": False}


def _fetch(args: argparse.Namespace) -> None:
    if (args.what is None) == (args.check is None):
        kinds = "study, hmi, mdi, helioviewer, sharp, flares, srs, xrays, nrt"
        raise SettingError(f"say what to fetch ({kinds}), or --check DIR; see --help")
    if args.check is not None:
        _check(args.check)
        return
    from kflare.archives.web import RetryPolicy, Web

    waits = {"connect": min(10.0, args.timeout), "read": args.timeout, "first_wait": args.wait}
    with Web(RetryPolicy(attempts=args.attempts, **waits)) as web:
        if args.what == "study":
            fetch_study(args, lambda step: _fetched(main.parser().parse_args(step), web))
            return
        text, told, failure = _fetched(args, web)
    if args.json or text:
        print(json.dumps(told, indent=2) if args.json else text)
    if failure:
        raise DataError(failure)


def _fetched(args: argparse.Namespace, web: "Web") -> Told:
    """Fetch what one command asks for."""
    if args.what == "flares" and args.hek:
        return _fetch_hek(args, web)
    return {"nrt": _fetch_nrt, "sharp": _fetch_sharp}.get(args.what, _fetch_archive)(args, web)


def _fetch_archive(args: argparse.Namespace, web: "Web") -> Told:
    from kflare.archives.downloads import download_all

    plan, total = _plan(args, web)
    with progress(total=total, desc=args.what, **_BAR) as bar:
        outcomes = download_all(plan, web, connections=args.connections, done=bar.update)
    told = {"outcomes": [outcome.as_json() for outcome in outcomes]}
    if silence := unanswered(outcomes):
        return "", told, f"{silence}; is there a network?"
    again = sum(outcome.again for outcome in outcomes)
    rest = f"{again} of {len(outcomes)} were rejected or not answered for: run the same command again" * bool(again)
    return outcome_table(outcomes), told, rest


def _plan(args: argparse.Namespace, web: "Web") -> "tuple[Iterable[FileRequest | FileResult], int]":
    from kflare.archives import magnetograms as archives
    from kflare.archives import noaa
    from kflare.sun.times import slots

    where = {"url": args.url} if getattr(args, "url", None) else {}
    if args.what in {"flares", "srs", "xrays"}:
        if (args.since is None) != (args.until is None):
            raise SettingError("give both --from and --until for the archive, or neither for SWPC's feeds")
        if args.since is None:
            feeds = noaa.FLARE_FEEDS if args.what == "flares" else noaa.XRAY_FEEDS
            return noaa.find_feeds(feeds, args.output, now=datetime.now(UTC), **where), len(feeds)
        days = slots(args.since, args.until, timedelta(days=1))
        if args.what != "xrays":
            kind = "events" if args.what == "flares" else "SRS"
            mirror = where or {"base": args.noaa}
            reports = noaa.find_reports(days, args.output, kind=kind, **mirror)
            # A mirror of the daily reports has no yearly ones.
            years = sorted({day.year for day in days}) if kind == "events" and not where else []
            return chain(reports, noaa.find_yearly(years, args.output, base=args.noaa)), len(days) + len(years)
        plan = noaa.find_xrs(web, args.since, args.until, args.output, satellite=args.satellite, **where)
        return plan, len(days)
    times = slots(args.since, args.until, args.cadence)
    common: dict[str, Any] = {"within": args.within, **where}
    if args.what == "mdi":
        return archives.find_soho(web, times, args.output, product=args.product, size=args.size, **common), len(times)
    if args.what == "helioviewer":
        return archives.find_helioviewer(web, times, args.output, source=args.source, **common), len(times)
    plan_of = {name: getattr(args, name) for name in ("series", "segment", "within", "policy", "wavelength")}
    return archives.find_jsoc(_jsoc(args, web, args.jsoc), times, args.output, **plan_of), len(times)


def _fetch_nrt(args: argparse.Namespace, web: "Web") -> Told:
    from kflare.archives.jsoc import JSOC2_URL
    from kflare.archives.near_real_time import fetch_nrt
    from kflare.archives.near_real_time_data import FEEDS, SOURCES
    from kflare.archives.noaa import SWPC_URL

    issue = args.issue or datetime.now(UTC).replace(second=0, microsecond=0)
    servers = {"jsoc": _jsoc(args, web, args.jsoc), "jsoc2": _jsoc(args, web, args.jsoc2 or JSOC2_URL)}
    with progress(total=len(SOURCES) + len(FEEDS), desc="nrt", **_BAR) as bar:
        found = fetch_nrt(
            issue, args.output, servers=servers, web=web, swpc_url=args.swpc or SWPC_URL, first=args.first,
            last=args.last, policy=args.policy, done=lambda _: bar.update(),
        )  # fmt: skip
    if silence := one_reason([result.reason for result in found.results]):
        return "", found.as_json(), f"no data of any of {len(found.results)} kinds: {silence}; is there a network?"
    lines = [f"for the forecast of {found.issue:%Y-%m-%dT%H:%MZ}", *map(result_line, found.results)]
    absent = [result.name for result in found.results if result.time is None]
    lacking = f"no data of {len(absent)} of {len(found.results)} kinds: {', '.join(absent)}" if absent else ""
    return "\n".join(lines), found.as_json(), lacking


def _fetch_hek(args: argparse.Namespace, web: "Web") -> Told:
    from kflare.archives.hek import HEK_URL, query_hek_flares

    if args.since is None or args.until is None:
        raise SettingError("--hek needs --from and --until")
    found = query_hek_flares(web, args.since, args.until, url=args.url or HEK_URL)
    path = args.output / f"hek_{args.since:%Y%m%d}_{args.until:%Y%m%d}.csv"
    make_folder(args.output)
    found.write_csv(path)
    return f"{path}: {found.report()}", {"path": str(path), "flares": len(found)}, ""


def _fetch_sharp(args: argparse.Namespace, web: "Web") -> Told:
    from kflare.archives.sharp import query_sharp_keywords
    from kflare.archives.web import NotFoundError
    from kflare.sharp.keywords import write_sharp_table

    make_folder(args.output)
    with progress(total=(args.until - args.since) // timedelta(days=1) + 1, desc="sharp", **_BAR) as bar:
        chosen = {name: getattr(args, name) for name in ("series", "harpnum", "cadence")}
        table = query_sharp_keywords(_jsoc(args, web, args.jsoc), args.since, args.until, **chosen, done=bar.update)
    if table.empty:
        raise NotFoundError(f"JSOC holds no records of `{args.series}` from {args.since:%FT%TZ} to {args.until:%FT%TZ}")
    path = args.output / f"sharp_{args.since:%Y%m%dT%H%MZ}_{args.until:%Y%m%dT%H%MZ}.parquet"
    write_sharp_table(table, path)
    counts = {"rows": len(table), "regions": int(table["harpnum"].nunique())}
    told = f"{path}: {counts['rows']} rows of {counts['regions']} regions; {'; '.join(table.attrs['notes'])}"
    return told, {"path": str(path), **counts}, ""


def _check(folders: Sequence[Path]) -> None:
    from kflare.observations.similarity.fidelity import fidelity_report
    from kflare.observations.similarity.pairs import file_pairs

    report = fidelity_report(progress(file_pairs(folders), desc="check", unit="pair", leave=False))
    command_line.tell_byte_scale("kflare.fetch", report.attrs["scales"])
    print(fidelity_text(report))
    if report["byte_correlation"].isna().all():
        raise DataError(f"none of {len(report)} pairs could be compared; the lines above say why")


def _jsoc(args: argparse.Namespace, web: "Web", url: str | None) -> "Jsoc":
    from kflare.archives.jsoc import JSOC_URL, Jsoc

    return Jsoc(web, url or JSOC_URL, email=getattr(args, "email", None))


main = command_line.Command("fetch", __doc__, _fetch, resumes=True)
