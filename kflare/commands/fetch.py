"""Download observations: archives over a range of dates, or what a forecast is made from, near real time.

Files that are complete are not fetched again, and an interrupted download is continued: run the same command again. A
file gets its name when it is complete. At the end a table lists what was got, what is missing or rejected, and why.
Exit status 0: everything that the archive holds is there. 1: something was rejected or a server gave no answer, so that
another run may fetch more; for nrt: there are no data of some kind. A gap of the archive itself (it answered that it
has none) is listed as missing and is no failure.

Examples
--------
python -m kflare.fetch hmi --from 2013-10-01 --until 2013-11-01 --output hmi
python -m kflare.fetch mdi --from 1999-01-01 --until 2000-01-01 --output mdi_jpeg
python -m kflare.fetch helioviewer --from 2013-10-01 --until 2013-11-01 --cadence 6h --output jp2
python -m kflare.fetch sharp --from 2011-02-12 --until 2011-02-17 --output sharp
python -m kflare.fetch flares --from 2013-10-01 --until 2013-11-01 --output events
python -m kflare.fetch xrays --output swpc
python -m kflare.fetch nrt --issue 2026-11-20T15:00 --output nrt --json
python -m kflare.fetch --check mdi_jpeg mdi_fits
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kflare.commands import command_line
from kflare.commands.command_line import utc_time
from kflare.commands.fetch_report import fidelity_text, outcome_table, result_line
from kflare.sun.times import UNIT_SECONDS

if TYPE_CHECKING:
    from kflare.archives.downloads import FileRequest, FileResult
    from kflare.archives.jsoc import Jsoc
    from kflare.archives.web import Web

__all__ = ["main"]


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--check", nargs="+", type=Path, metavar="DIR",
        help="compare magnetograms that are there: those of the first folder with those of the others nearest in time, "
        "or within one folder images with data (Yi et al. 2021, section 2)",
    )  # fmt: skip
    common = _common_options()
    dated = argparse.ArgumentParser(add_help=False)
    dated.add_argument("--from", dest="since", type=utc_time, required=True, metavar="DATE", help="first time, UTC")
    dated.add_argument("--until", type=utc_time, required=True, metavar="DATE", help="end, exclusive, UTC")
    images = argparse.ArgumentParser(add_help=False)
    images.add_argument("--cadence", type=_span, default="24h", metavar="SPAN", help="such as 24h, 90m (default: 24h)")
    told = "how much earlier an image may be that is taken for a missing one (default: 12h)"
    images.add_argument("--within", type=_span, default="12h", metavar="SPAN", help=told)
    recent = argparse.ArgumentParser(add_help=False)
    first = "first day; without it: SWPC's feeds"
    recent.add_argument("--from", dest="since", type=utc_time, metavar="DATE", help=first)
    recent.add_argument("--until", type=utc_time, metavar="DATE", help="end, exclusive")

    what = parser.add_subparsers(dest="what", metavar="{hmi,mdi,helioviewer,sharp,flares,xrays,nrt}")
    hmi = what.add_parser("hmi", parents=[common, dated, images], help="FITS of a full-disk series of JSOC")
    hmi.add_argument("--series", default="hmi.M_720s", help="default: hmi.M_720s; mdi.fd_M_96m_lev182 for MDI")
    hmi.add_argument("--segment", default="magnetogram", help="default: magnetogram; data for MDI")
    _add_jsoc(hmi)
    mdi = what.add_parser("mdi", parents=[common, dated, images], help="JPEG of SOHO's image archive, ±100 G")
    mdi.add_argument("--product", default="mdimag", choices=("mdimag", "hmimag"), help="default: mdimag")
    mdi.add_argument("--size", type=int, default=512, choices=(512, 1024), help="width in pixels (default: 512)")
    _add_server(mdi, "--url", "KFLARE_SOHO_URL")
    hv = what.add_parser("helioviewer", parents=[common, dated, images], help="JPEG 2000 of Helioviewer, 4096²")
    hv.add_argument("--source", type=int, default=19, metavar="N", help="19 HMI magnetogram, 18 continuum; default: 19")
    _add_server(hv, "--url", "KFLARE_HELIOVIEWER_URL")
    keywords = "SHARP keywords of JSOC in one Parquet table, in kflare's units"
    sharp = what.add_parser("sharp", parents=[common, dated], help=keywords)
    sharp.add_argument("--series", default="hmi.sharp_cea_720s", help="default: hmi.sharp_cea_720s")
    sharp.add_argument("--harpnum", type=int, metavar="N", help="of one region only")
    _add_server(sharp, "--jsoc", "KFLARE_JSOC_URL")
    flares = what.add_parser("flares", parents=[common, recent], help="NOAA's daily event reports, or SWPC's feeds")
    flares.add_argument("--hek", action="store_true", help="ask the HEK instead, for one CSV of the whole range")
    flares.add_argument("--url", help="of the archive, the feeds or the HEK")
    xrays = what.add_parser("xrays", parents=[common, recent], help="GOES X-ray flux, netCDF per day, or SWPC's feed")
    xrays.add_argument("--satellite", type=int, metavar="N", help="GOES number (default: the highest that has the day)")
    xrays.add_argument("--url", help="of the archive or the feed")
    nrt = what.add_parser("nrt", parents=[common], help="what a forecast is made from, 1 h to 5 h before its issue")
    nrt.add_argument("--issue", type=utc_time, metavar="TIME", help="issue of the forecast, UTC (default: now)")
    nrt.add_argument("--first", type=_span, default="1h", metavar="SPAN", help="youngest data (default: 1h)")
    nrt.add_argument("--last", type=_span, default="5h", metavar="SPAN", help="oldest data (default: 5h)")
    _add_jsoc(nrt)
    _add_server(nrt, "--jsoc2", "KFLARE_JSOC2_URL", "server of aia.lev1_nrt2; name and password in it or in ~/.netrc")
    _add_server(nrt, "--swpc", "KFLARE_SWPC_URL")


def _common_options() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write to")
    common.add_argument("--json", action="store_true", help="print JSON")
    common.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    network = common.add_argument_group("network")
    network.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="longest wait (default: 60)")
    network.add_argument("--attempts", type=int, default=4, metavar="N", help="failures in a row (default: 4)")
    network.add_argument("--wait", type=float, default=1.0, metavar="SECONDS", help="before a second try (default: 1)")
    network.add_argument("--connections", type=int, default=3, metavar="N", help="files at a time (default: 3)")
    return common


def _add_jsoc(parser: argparse.ArgumentParser) -> None:
    policies = ("default", "strict", "any")
    parser.add_argument("--policy", default="default", choices=policies, help="quality policy (default: default)")
    told = "registered with JSOC: also brings data back from tape ($JSOC_EMAIL)"
    parser.add_argument("--email", default=os.environ.get("JSOC_EMAIL"), metavar="ADDRESS", help=told)
    _add_server(parser, "--jsoc", "KFLARE_JSOC_URL")


def _add_server(parser: argparse.ArgumentParser, option: str, variable: str, what: str = "mirror") -> None:
    parser.add_argument(option, default=os.environ.get(variable), metavar="URL", help=f"{what} (${variable})")


def _fetch(args: argparse.Namespace) -> None:
    from kflare.errors import SettingError

    if (args.what is None) == (args.check is None):
        kinds = "hmi, mdi, helioviewer, sharp, flares, xrays, nrt"
        raise SettingError(f"say what to fetch ({kinds}), or --check DIR; see --help")
    if args.check is not None:
        _check(args.check)
        return
    for name, least in (("timeout", 0.0), ("attempts", 0), ("connections", 0), ("wait", -1.0)):
        if not getattr(args, name) > least:
            raise SettingError(f"`--{name}` must be above {max(least, 0):g}, got {getattr(args, name)}")
    from kflare.archives.web import RetryPolicy, Web

    waits = {"connect": min(10.0, args.timeout), "read": args.timeout, "first_wait": args.wait}
    with Web(RetryPolicy(attempts=args.attempts, **waits)) as web:
        if args.what == "nrt":
            _fetch_nrt(args, web)
        elif args.what == "sharp":
            _fetch_sharp(args, web)
        elif args.what == "flares" and args.hek:
            _fetch_hek(args, web)
        else:
            _fetch_archive(args, web)


def _fetch_archive(args: argparse.Namespace, web: "Web") -> None:
    from kflare.archives.downloads import download_all
    from kflare.errors import DataError

    plan, total = _plan(args, web)
    with _bar(total, args.what) as done:
        outcomes = download_all(plan, web, connections=args.connections, done=done)
    if args.json:
        print(json.dumps({"outcomes": [outcome.as_json() for outcome in outcomes]}, indent=2))
    else:
        print(outcome_table(outcomes))
    again = sum(outcome.again for outcome in outcomes)
    if again:
        raise DataError(f"{again} of {len(outcomes)} were rejected or not answered for: run the same command again")


def _plan(args: argparse.Namespace, web: "Web") -> "tuple[Iterable[FileRequest | FileResult], int]":
    from kflare.archives import magnetograms as archives
    from kflare.archives import noaa
    from kflare.errors import SettingError
    from kflare.sun.times import slots

    where = {"url": args.url} if getattr(args, "url", None) else {}
    if args.what in {"flares", "xrays"}:
        if (args.since is None) != (args.until is None):
            raise SettingError("give both --from and --until for the archive, or neither for SWPC's feeds")
        if args.since is None:
            feeds = noaa.FLARE_FEEDS if args.what == "flares" else noaa.XRAY_FEEDS
            return noaa.find_feeds(feeds, args.output, now=datetime.now(UTC), **where), len(feeds)
        days = slots(args.since, args.until, timedelta(days=1))
        if args.what == "flares":
            return noaa.find_events(days, args.output, **where), len(days)
        plan = noaa.find_xrs(web, args.since, args.until, args.output, satellite=args.satellite, **where)
        return plan, len(days)
    times = slots(args.since, args.until, args.cadence)
    common: dict[str, Any] = {"within": args.within, **where}
    if args.what == "mdi":
        return archives.find_soho(web, times, args.output, product=args.product, size=args.size, **common), len(times)
    if args.what == "helioviewer":
        return archives.find_helioviewer(web, times, args.output, source=args.source, **common), len(times)
    plan_of = {"series": args.series, "segment": args.segment, "within": args.within, "policy": args.policy}
    return archives.find_jsoc(_jsoc(args, web, args.jsoc), times, args.output, **plan_of), len(times)


def _fetch_nrt(args: argparse.Namespace, web: "Web") -> None:
    from kflare.archives.jsoc import JSOC2_URL
    from kflare.archives.near_real_time import fetch_nrt
    from kflare.archives.near_real_time_data import FEEDS, SOURCES
    from kflare.archives.noaa import SWPC_URL
    from kflare.errors import DataError

    issue = args.issue or datetime.now(UTC).replace(second=0, microsecond=0)
    servers = {"jsoc": _jsoc(args, web, args.jsoc), "jsoc2": _jsoc(args, web, args.jsoc2 or JSOC2_URL)}
    with _bar(len(SOURCES) + len(FEEDS), "nrt") as done:
        found = fetch_nrt(
            issue, args.output, servers=servers, web=web, swpc_url=args.swpc or SWPC_URL, first=args.first,
            last=args.last, policy=args.policy, done=lambda _: done(),
        )  # fmt: skip
    if args.json:
        print(json.dumps(found.as_json(), indent=2))
    else:
        print(f"for the forecast of {found.issue:%Y-%m-%dT%H:%MZ}")
        for result in found.results:
            print(result_line(result))
    absent = [result.name for result in found.results if result.time is None]
    if absent:
        raise DataError(f"no data of {len(absent)} of {len(found.results)} kinds: {', '.join(absent)}")


def _fetch_hek(args: argparse.Namespace, web: "Web") -> None:
    from kflare.archives.hek import HEK_URL, query_hek_flares
    from kflare.errors import SettingError
    from kflare.io.atomic import make_folder

    if args.since is None or args.until is None:
        raise SettingError("--hek needs --from and --until")
    found = query_hek_flares(web, args.since, args.until, url=args.url or HEK_URL)
    path = args.output / f"hek_{args.since:%Y%m%d}_{args.until:%Y%m%d}.csv"
    make_folder(args.output)
    found.write_csv(path)
    print(json.dumps({"path": str(path), "flares": len(found)}) if args.json else f"{path}: {found.report()}")


def _fetch_sharp(args: argparse.Namespace, web: "Web") -> None:
    from kflare.archives.jsoc import JSOC_URL, Jsoc
    from kflare.archives.sharp import query_sharp_keywords
    from kflare.errors import DataError
    from kflare.io.atomic import make_folder
    from kflare.sharp.keywords import write_sharp_table

    make_folder(args.output)
    with _bar((args.until - args.since) // timedelta(days=1) + 1, "sharp") as done:
        jsoc, chosen = Jsoc(web, args.jsoc or JSOC_URL), {"series": args.series, "harpnum": args.harpnum}
        table = query_sharp_keywords(jsoc, args.since, args.until, **chosen, done=done)
    if table.empty:
        raise DataError(f"JSOC holds no records of `{args.series}` from {args.since:%FT%TZ} to {args.until:%FT%TZ}")
    path = args.output / f"sharp_{args.since:%Y%m%dT%H%MZ}_{args.until:%Y%m%dT%H%MZ}.parquet"
    write_sharp_table(table, path)
    counts = {"rows": len(table), "regions": int(table["harpnum"].nunique())}
    told = f"{path}: {counts['rows']} rows of {counts['regions']} regions; {'; '.join(table.attrs['notes'])}"
    print(json.dumps({"path": str(path), **counts}) if args.json else told)


def _check(folders: Sequence[Path]) -> None:
    from tqdm import tqdm

    from kflare.errors import DataError
    from kflare.observations.similarity.fidelity import fidelity_report
    from kflare.observations.similarity.pairs import file_pairs

    report = fidelity_report(tqdm(file_pairs(folders), desc="check", disable=None, leave=False))
    print(fidelity_text(report))
    if report["byte_correlation"].isna().all():
        raise DataError(f"none of {len(report)} pairs could be compared; the lines above say why")


def _jsoc(args: argparse.Namespace, web: "Web", url: str | None) -> "Jsoc":
    from kflare.archives.jsoc import JSOC_URL, Jsoc

    return Jsoc(web, url or JSOC_URL, email=args.email)


@contextmanager
def _bar(total: int, what: str) -> Iterator[Callable[[], object]]:
    """Progress bar on stderr, if that is a terminal; gives the function that moves it."""
    from tqdm import tqdm

    with tqdm(total=total, desc=what, file=sys.stderr, disable=None, leave=False) as bar:
        yield lambda: bar.update(1)


def _span(text: str) -> timedelta:
    number, unit = text[:-1], text[-1:]
    if unit not in UNIT_SECONDS or not number.replace(".", "", 1).isdigit():
        raise argparse.ArgumentTypeError(f"must be a span such as 24h, 90m or 1d, got {text!r}")
    return timedelta(seconds=float(number) * UNIT_SECONDS[unit])


main = command_line.Command("fetch", __doc__, _options, _fetch)
