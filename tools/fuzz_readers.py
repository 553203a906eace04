"""Read damaged files by the ten thousand: each must give its object or a KflareError, in bounded memory and time.

    .venv/bin/python tools/fuzz_readers.py --mutations 20000

Every file is a seed with a few mutations; number N of a `--seed` is always the same file (`--only N` reads it alone,
and shows the traceback). Seeds are small files written here, and those of $KFLARE_DATA where it is set. The reading is
done by a child process, so that a crash of a decoder in C is counted and does not end the run. Exit status 1 if
anything but an object or a KflareError came out, a file took more than 10 s, or more than 2 GB of memory was used.
"""

import argparse
import io
import json
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

LIMIT_BYTES = 2 << 30
LIMIT_SECONDS = 10
# Numbers that have a meaning for parsers, as text and as bytes.
TEXTS = [b"nan", b"inf", b"-1", b"0", b"1e400", b"99999999999", b"4294967295", b"-2147483648", b"T", b"'", b"END",
         b"\n", b"<", b"&", b"{", b"[", b'"', b",", b"null", b"\xff", b"\x00"]  # fmt: skip
NUMBERS = [0, 1, 7, 8, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


SRS = """\
:Product: 1023SRS.txt
:Issued: 2013 Oct 23 0030 UTC
I.  Regions with Sunspots.  Locations Valid at 22/2400Z
Nmbr Location  Lo  Area  Z   LL   NN Mag Type
1875 N07W04   012  0420 Ekc  13   31 Beta-Gamma-Delta
1877 S13E23   344  0390 Eki  11   16 Beta-Gamma
IA. H-alpha Plages without Spots.  Locations Valid at 22/2400Z Oct
Nmbr  Location  Lo
1871  S08W56   064
II. Regions Due to Return 23 Oct to 25 Oct
Nmbr Lat    Lo
1865 S22    251
"""
SRS_TABLE = """\
,ar_noaanum,LOCATION,AREA,Longitude_extent,date
0,11875,N07W04,420,13,2013-10-23 00:30
1,11877,S13E23,390,11,2013-10-23 00:30
"""
SAMPLES = """\
prefix,arpnum,t_start,t_end,label,flares,FLARE_INDEX,AREA,USFLUX,MEANGBZ,R_VALUE
HARP,377,,2011-02-15 00:00:00,False,,0.0,100.0,1e21,20.0,3.0
HARP,377,,2011-02-15 04:48:00,True,C3.1|X2.2,0.0,120.0,2e21,20.0,3.0
HARP,400,,2011-02-15 01:36:00,False,,0.0,7.0,1e20,10.0,0.0
"""


@dataclass(frozen=True)
class Target:
    """A kind of file: its name, a good example, the suffix of the file, and what reads it."""

    name: str
    seed: bytes
    suffix: str
    read: Callable[[Path], object]
    wrap: Callable[[bytes], bytes] = bytes  # applied after the mutations


def magnetograms() -> Iterator[Target]:
    """FITS plain and compressed, JPEG, PNG and JP2, small; and real ones of $KFLARE_DATA."""
    import gzip

    import numpy as np
    from astropy.io import fits
    from PIL import Image

    from kflare.observations.reading import read_magnetogram

    width = 48
    y, x = np.mgrid[:width, :width] - (width - 1) / 2
    field = np.random.default_rng(0).normal(0, 60, (width, width)).astype(np.float32)
    field[np.hypot(x, y) > 21] = np.nan
    cards: dict[str, Any] = {
        "CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CUNIT1": "arcsec", "CUNIT2": "arcsec", "CRPIX1": 24.5,
        "CRPIX2": 24.5, "CDELT1": 45.0, "CDELT2": 45.0, "CROTA2": 180.08, "RSUN_OBS": 945.0, "R_SUN": 21.0,
        "DSUN_OBS": 1.5e11, "CRLN_OBS": 20.0, "CRLT_OBS": 5.0, "BUNIT": "Gauss", "CONTENT": "MAGNETOGRAM",
        "INSTRUME": "HMI_SIDE1", "TELESCOP": "SDO/HMI", "QUALITY": 1024, "T_OBS": "2013.10.23_00:00:01.5_TAI",
        "DATE-OBS": "2013-10-22T23:59:26.5",
    }  # fmt: skip

    def written(*hdus: Any) -> bytes:
        stream = io.BytesIO()
        fits.HDUList(list(hdus)).writeto(stream)
        return stream.getvalue()

    def compressed(kind: str) -> bytes:
        raw = np.where(np.isnan(field), -(2**31), np.rint(np.nan_to_num(field) * 10)).astype(np.int32)
        image = fits.CompImageHDU(raw, fits.Header(cards | {"BLANK": -(2**31)}), compression_type=kind)
        image.header["BSCALE"] = 0.1
        return written(fits.PrimaryHDU(), image)

    def pictured(kind: str, **options: Any) -> bytes:
        stream = io.BytesIO()
        image = np.nan_to_num(np.rint(field + 128), nan=0).clip(0, 255).astype(np.uint8)
        Image.fromarray(image[::-1]).save(stream, kind, **options)
        return stream.getvalue()

    def jp2(**options: Any) -> bytes:
        payload = pictured("JPEG2000", **options)
        text = "".join(f"<{key}>{value}</{key}>" for key, value in cards.items())
        box = f'<?xml version="1.0"?><meta><fits>{text}</fits></meta>'.encode()
        place = payload.index(b"jp2c") - 4
        return payload[:place] + struct.pack(">I4s", 8 + len(box), b"xml ") + box + payload[place:]

    float_image = fits.CompImageHDU(field, fits.Header(cards), compression_type="RICE_1")
    turned = fits.PrimaryHDU(field, fits.Header(cards | {"CROTA2": 33.0}))
    named = [
        ("FITS plain", written(fits.PrimaryHDU(field, fits.Header(cards))), ".fits"),
        ("FITS rolled", written(turned), ".fits"),
        ("FITS RICE", compressed("RICE_1"), ".fits"),
        ("FITS GZIP", compressed("GZIP_1"), ".fits"),
        ("FITS RICE of floats", written(fits.PrimaryHDU(), float_image), ".fits"),
        ("JPEG", pictured("JPEG", quality=95), ".jpg"),
        ("JPEG progressive", pictured("JPEG", quality=95, progressive=True), ".jpg"),
        ("PNG", pictured("PNG"), ".png"),
        ("JP2", jp2(), ".jp2"),
        ("JP2 tiled, lossy", jp2(tile_size=(32, 32), irreversible=True, quality_layers=[20, 5]), ".jp2"),
    ]
    data = os.environ.get("KFLARE_DATA")
    for pattern in ("mdi/*.fits", "hmi_daily/hmi.M_20131023_*.jpg") if data else ():
        path = min(Path(str(data)).glob(pattern))
        named.append((f"{path.parent.name} (real)", path.read_bytes(), path.suffix))
    for name, seed, suffix in named:
        yield Target(name, seed, suffix, read_magnetogram)
    # What is protected by check sums is mutated inside of them, or nothing would get past them.
    yield Target("FITS in gzip", compressed("RICE_1"), ".fits.gz", read_magnetogram, wrap=gzip.compress)
    yield Target("PNG, sums mended", pictured("PNG"), ".png", read_magnetogram, wrap=mended_png)


def mended_png(payload: bytes) -> bytes:
    """Return a PNG file with the right check sum behind every chunk, as far as chunks can be found."""
    data, place = bytearray(payload), 8
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        stop = place + 8 + length
        if stop + 4 > len(data):
            break
        data[stop : stop + 4] = struct.pack(">I", zlib.crc32(data[place + 4 : stop]))
        place = stop + 4
    return bytes(data)


def catalogues() -> Iterator[Target]:
    """Flare lists, X-ray flux and SHARP headers: text, JSON, CSV and netCDF, as the tests of the readers hold them."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from catalogue_seeds import seeds

    for name, content, read in seeds():
        yield Target(name, content, "".join(Path(name).suffixes[-1:]), read)


def solar() -> Iterator[Target]:
    """Images of AIA, segments of vector fields, SHARP maps and attribution maps, in FITS."""
    import numpy as np
    import pandas as pd
    from astropy.io import fits

    from kflare.attribution.attribution_file import Attribution, Origin, read_attribution, write_attribution
    from kflare.attribution.region_tables import read_sharp_box
    from kflare.observations.reading import magnetogram_time
    from kflare.observations.solar_image import read_solar_image
    from kflare.regions.sharp_cea import read_sharp_cea
    from kflare.regions.vector_files import read_vector
    from kflare.synthetic.sun import SyntheticSun

    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    start = datetime(2014, 1, 1, tzinfo=UTC)
    sun = SyntheticSun(start, 1, seed=1, activity=3.0)
    sun.write_observations(folder, size=64, full_disk_vector=True, times=pd.DatetimeIndex([start]))
    magnetogram = sun.magnetogram(start, 64)
    segments = {name: next(folder.glob(f"*.{name}.fits")) for name in ("field", "inclination", "azimuth", "disambig")}

    def vector(segment: str) -> Callable[[Path], object]:
        return lambda path: read_vector(**{**segments, segment: path}, magnetogram=magnetogram)

    aia = next(folder.glob("aia.*.131.*.fits")).read_bytes()
    yield Target("AIA image", aia, ".fits", lambda path: read_solar_image(path, wavelength=131))
    los = next(folder.glob("hmi.M_*.fits")).read_bytes()
    yield Target("time of a magnetogram", los, ".fits", magnetogram_time)
    yield Target("vector: field", segments["field"].read_bytes(), ".fits", vector("field"))
    yield Target("vector: disambig", segments["disambig"].read_bytes(), ".fits", vector("disambig"))

    cards = {
        "T_REC": "2014.01.01_00:00:00_TAI", "HARPNUM": 377, "CDELT1": 0.03, "CRVAL1": 20.0, "CRVAL2": 5.0,
        "CRLN_OBS": 10.0, "CRLT_OBS": -3.0, "RSUN_REF": 6.96e8, "RSUN_OBS": 975.0, "DSUN_OBS": 1.47e11,
        "LON_MIN": 5.0, "LON_MAX": 15.0, "LAT_MIN": 0.0, "LAT_MAX": 9.0,
    }  # fmt: skip
    ones = np.full((24, 32), 34, np.int32)
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(ones, fits.Header(cards), compression_type="RICE_1")]).writeto(
        stream
    )
    bitmap, other = stream.getvalue(), folder / "hmi.sharp_cea_720s.377.magnetogram.fits"
    other.write_bytes(bitmap)

    def sharp(path: Path) -> object:
        return read_sharp_cea([path.rename(path.with_name("hmi.sharp_cea_720s.377.bitmap.fits")), other])

    yield Target("SHARP CEA map", bitmap, ".fits", sharp)
    yield Target("SHARP box", bitmap, ".fits", read_sharp_box)
    maps = np.random.default_rng(0).normal(size=(1, 32, 32, 2)).astype(np.float32)
    outputs = {"probability": np.zeros(1), "calibrated": np.zeros(1), "grad_cam": maps[:, ::4, ::4]}
    made = Attribution.of_reply({**outputs, "guided_backprop": maps}, 0, magnetogram, origin=Origin("cnn-c", 1))
    write_attribution(made, folder / "maps.fits")
    yield Target("attribution maps", (folder / "maps.fits").read_bytes(), ".fits", read_attribution)


def tables() -> Iterator[Target]:
    """Region reports, tables of regions, SHARP samples and forecasts, and settings."""
    import pandas as pd

    from kflare.attribution.region_tables import read_regions
    from kflare.datasets.region_table import read_region_table
    from kflare.flares.catalogue import FlareList
    from kflare.flares.srs import read_srs
    from kflare.operations.settings import as_toml, read_settings
    from kflare.sharp.daily import read_sharp_daily
    from kflare.sharp.keywords import SHARP_KEYWORDS
    from kflare.sharp.samples import read_sharp_samples
    from kflare.synthetic.sun import SyntheticSun
    from kflare.verification.tables import forecast_table, read_forecasts

    def parquet(table: pd.DataFrame) -> bytes:
        return bytes(table.to_parquet())

    yield Target("SRS text", SRS.encode(), ".txt", read_srs)
    yield Target("SRS table", SRS_TABLE.encode(), ".csv", read_srs)
    yield Target("SRS table of attribute", SRS_TABLE.encode(), ".csv", read_regions)
    sun = SyntheticSun(datetime(2014, 1, 1, tzinfo=UTC), 2, seed=1, activity=3.0)
    regions = sun.region_table(sun.times(6))[:8]
    yield Target("region table, CSV", regions.to_csv(index=False).encode(), ".csv", read_region_table)
    yield Target("region table, Parquet", parquet(regions), ".parquet", read_region_table)
    yield Target("regions of attribute", regions.to_csv(index=False).encode(), ".csv", read_regions)
    daily = [["T_REC", "NOAA_AR", *SHARP_KEYWORDS], ["2013-10-23T00:00:00", 11875, *range(len(SHARP_KEYWORDS))]]
    text = "\n".join(";".join(map(str, row)) for row in daily)
    yield Target("daily SHARP table", text.encode(), ".csv", read_sharp_daily)

    flares = pd.DataFrame(
        [("2010-01-01", "B1.0", pd.NA), ("2011-02-15 01:44", "X2.2", 11158), ("2012-01-01", "B1.0", pd.NA)],
        columns=["start", "goes_class", "noaa"],
    )
    listed = FlareList(flares.assign(start=pd.to_datetime(flares["start"], utc=True, format="ISO8601")), "here")
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))

    def samples(path: Path) -> object:
        (folder / "sharp_0.csv").write_bytes(path.read_bytes())
        return read_sharp_samples(folder, flares=listed, harp_noaa=None)

    yield Target("SHARP samples", SAMPLES.encode(), ".csv", samples)
    forecasts = pd.DataFrame(
        {"time": pd.date_range("2016-01-01", periods=6), "method": ["NOAA", "SIDC"] * 3, "probability": 0.25,
         "observed": [0, 0, 1, 1, 0, 0]}
    )  # fmt: skip
    forecasts["time"] = sorted([*forecasts["time"][:3]] * 2)

    def checked(path: Path) -> object:
        return forecast_table(read_forecasts(path))

    yield Target("forecasts, CSV", forecasts.to_csv(index=False).encode(), ".csv", checked)
    yield Target("forecasts, Parquet", parquet(forecasts), ".parquet", checked)
    (folder / "kflare.toml").write_text("")
    yield Target("settings", as_toml(read_settings(folder / "kflare.toml")).encode(), ".toml", read_settings)


#: What is fuzzed. A room that reads another kind of file adds a function that yields its targets.
SOURCES: list[Callable[[], Iterator[Target]]] = [magnetograms, catalogues, solar, tables]


def damaged(target: Target, seed: int, number: int) -> bytes:
    """Return file `number` of a run: the target's seed with one to eight mutations, half of them near its begin."""
    chance = random.Random(f"{seed} {number}")  # noqa: S311  not for secrets
    data = bytearray(target.seed)
    for _ in range(chance.choice((1, 1, 2, 3, 5, 8))):
        if not data:
            break
        reach = len(data) if chance.random() < 0.5 else min(len(data), chance.choice((100, 600, 6000)))
        place = chance.randrange(reach)
        kind = chance.randrange(9)
        if kind == 0:
            data[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[place] = chance.randrange(256)
        elif kind == 2:
            text = chance.choice(TEXTS)
            data[place : place + len(text)] = text
        elif kind == 3:
            number = struct.pack(chance.choice((">I", "<I")), chance.choice(NUMBERS))
            number = number[-chance.choice((1, 2, 4)) :]
            data[place : place + len(number)] = number
        elif kind == 4:
            digits = [i for i in range(place, min(place + 400, len(data))) if 48 <= data[i] < 58]
            for i in digits[: chance.randrange(1, 6)]:
                data[i] = chance.randrange(48, 58)
        elif kind == 5:
            stop = min(len(data), place + chance.randrange(1, 80))
            data[place:stop] = bytes(chance.randrange(256) for _ in range(stop - place))
        elif kind == 6:
            del data[place : place + chance.choice((1, 4, 80, 1000))]
        elif kind == 7:
            other = chance.randrange(len(data))
            data[place:place] = data[other : other + chance.choice((1, 4, 80, 1000))]
        elif chance.random() < 0.4:
            del data[place:]
    return target.wrap(bytes(data))


class TooLong(BaseException):
    """No Exception, so that no reader can take it for damage of the file."""


def outcome(target: Target, payload: bytes, folder: Path) -> tuple[str, str]:
    """Return what reading gives: "read", the name of the KflareError, or "FAULT"; and what the fault was."""
    from kflare.errors import KflareError

    path = folder / f"hmi.M_20131023_000054{target.suffix}"
    path.write_bytes(payload)
    signal.alarm(LIMIT_SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            target.read(path)
    except KflareError as error:
        return ("FAULT", f"message of several lines: {error!r}") if "\n" in str(error) else (type(error).__name__, "")
    except (Exception, TooLong) as error:  # noqa: BLE001  counting them is the purpose
        where = traceback.extract_tb(error.__traceback__)[-1]
        return "FAULT", f"{type(error).__name__}: {error} at {Path(where.filename).name}:{where.lineno}"
    finally:
        signal.alarm(0)
    return "read", ""


def work(first: int, last: int, seed: int) -> None:
    """Child: read files first .. last - 1, one line of JSON each, the largest memory last."""
    signal.signal(signal.SIGALRM, _alarm)
    targets = [target for source in SOURCES for target in source()]
    with tempfile.TemporaryDirectory() as folder:
        for target in targets if first == 0 else ():
            result, fault = outcome(target, target.wrap(target.seed), Path(folder))
            if result != "read":
                print(json.dumps(f"{target.name}: the seed itself cannot be read: {result} {fault}"), flush=True)
        for number in range(first, last):
            target = targets[number % len(targets)]
            begin = time.monotonic()
            result, fault = outcome(target, damaged(target, seed, number), Path(folder))
            print(json.dumps([number, target.name, result, fault, time.monotonic() - begin]), flush=True)
    print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024), flush=True)


def _alarm(*_: object) -> None:
    raise TooLong(f"more than {LIMIT_SECONDS} s")


def run(mutations: int, seed: int) -> int:
    """Parent: hand out the numbers, start again after a crash, and report."""
    counts: dict[str, Counter[str]] = {}
    slowest: dict[str, float] = {}
    faults: list[str] = []
    peak, done = 0, 0
    while done < mutations:
        # A new child every 5,000 files, so that a leak would show in the memory of none.
        last = min(mutations, done + 5000)
        command = [sys.executable, __file__, "--work", str(done), str(last), "--seed", str(seed)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for line in child.stdout:
                entry = json.loads(line)
                if isinstance(entry, str):
                    faults.append(entry)
                    continue
                if isinstance(entry, int):
                    peak = max(peak, entry)
                    continue
                number, name, result, fault, seconds = entry
                slowest[name] = max(slowest.get(name, 0.0), seconds)
                counts.setdefault(name, Counter())[result] += 1
                done = number + 1
                if fault:
                    faults.append(f"{number} {name}: {fault}")
        if child.returncode and not counts:
            raise SystemExit("the targets cannot be made")
        if child.returncode:
            faults.append(f"{done}: the reader crashed with status {child.returncode}")
            counts.setdefault("crashed", Counter())["FAULT"] += 1
            done += 1
        print(f"{done} of {mutations}", file=sys.stderr)
    kinds = sorted({kind for counter in counts.values() for kind in counter})
    print(f"{'':26}{''.join(f'{kind:>14}' for kind in kinds)}{'slowest, s':>14}")
    for name, counter in counts.items():
        print(f"{name:26}{''.join(f'{counter[kind]:14d}' for kind in kinds)}{slowest.get(name, 0.0):14.2f}")
    total = sum(counts.values(), Counter())
    print(f"{'all':26}{''.join(f'{total[kind]:14d}' for kind in kinds)}")
    print(f"{sum(total.values())} files, {len(faults)} faults, at most {peak / 2**20:.0f} MiB of memory")
    print("\n".join(faults[:50]))
    return 1 if faults or peak > LIMIT_BYTES else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mutations", type=int, default=20_000, help="files to read (default: 20000)")
    parser.add_argument("--seed", type=int, default=0, help="another number gives other files")
    parser.add_argument("--only", type=int, metavar="N", help="read file N alone and show what happens")
    parser.add_argument("--work", type=int, nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(*args.work, args.seed)
        return 0
    if args.only is not None:
        targets = [target for source in SOURCES for target in source()]
        target = targets[args.only % len(targets)]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"hmi.M_20131023_000054{target.suffix}"
            path.write_bytes(damaged(target, args.seed, args.only))
            print(target.name, target.read(path))
        return 0
    return run(args.mutations, args.seed)


if __name__ == "__main__":
    sys.exit(main())
