"""Serve the synthetic Sun as JSOC, SOHO and NOAA would, on loopback: prints the address, until interrupted.

python tools/synthetic_archive.py --from 2009-01-01 --days 2000 --size 128
"""

import argparse
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

# The stand-in server is that of the tests, which are no package of their own. tf-keras-vis installs one by that name,
# which would be found first.
sys.modules["tests"] = ModuleType("tests")
sys.modules["tests"].__path__ = [str(Path(__file__).resolve().parents[1] / "tests")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="since", default="2009-01-01", metavar="DATE", help="default: 2009-01-01")
    parser.add_argument("--days", type=int, default=2000, metavar="N", help="default: 2000")
    parser.add_argument("--size", type=int, default=128, metavar="PIXELS", help="of the full disks (default: 128)")
    parser.add_argument("--activity", type=float, default=1.0, metavar="X", help="1 = solar maximum (default: 1)")
    parser.add_argument("--seed", type=int, default=2, metavar="N", help="of the Sun (default: 2)")
    parser.add_argument("--xray-days", type=int, metavar="N", help="X-ray flux of the first N days only (default: all)")
    parser.add_argument(
        "--observed", type=float, nargs=2, default=[1, 1], metavar=("N", "M"),
        help="JSOC has records of N days in every M, and GOES (default: of all)",
    )  # fmt: skip
    args = parser.parse_args()
    from tests.sun_archive import SunArchive

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from kflare.synthetic.sun import SyntheticSun

    day = timedelta(days=1)
    begin = datetime.fromisoformat(args.since).replace(tzinfo=UTC)
    # Records of 0 UT were begun before it, and forecasts of the last day need the flares of the next.
    sun = SyntheticSun(begin - day, args.days + 3, seed=args.seed, activity=args.activity)
    with SunArchive(sun, size=args.size, xray_days=args.xray_days, observed=args.observed) as archive:
        print(archive.url, flush=True)
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(0)
