"""What `tools/fuzz_readers.py` damages: a small good file of every kind that a reader takes from outside."""

import io
import json
import os
import random
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fuzz_mutations import STRUCTURES, Structure, of_bytes, of_cards, of_netcdf4

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]  # whose files serve here, too, and the synthetic Sun

DAY = timedelta(days=1)
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
    """What is read: its kind and name, a good example, the suffix of the file, and what reads it."""

    kind: str
    name: str
    seed: bytes
    suffix: str
    read: Callable[[Path], object]
    wrap: Callable[[bytes], bytes] = bytes  # applied after the mutations
    structure: Structure | None = None  # None: by the suffix; without one there, bytes alone

    def damaged(self, seed: int, number: int) -> bytes:
        """File `number` of a run: every second one with mutations of what it is made of, the others of bytes."""
        chance = random.Random(f"{seed} {number} {self.name}")  # noqa: S311  not for secrets
        structure = self.structure or STRUCTURES.get(self.suffix)
        mutate = structure if structure and number % 2 else of_bytes
        return self.wrap(mutate(self.seed, chance))


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
        kind = {".fits": "FITS", ".jp2": "JP2"}.get(suffix, "images")
        yield Target(kind, name, seed, suffix, read_magnetogram)
    # What is protected by check sums is mutated inside of them, or nothing would get past them.
    yield Target(
        "FITS",
        "FITS in gzip",
        compressed("RICE_1"),
        ".fits.gz",
        read_magnetogram,
        wrap=gzip.compress,
        structure=of_cards,
    )
    yield Target("images", "PNG, sums mended", pictured("PNG"), ".png", read_magnetogram, wrap=mended_png)


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
    from catalogue_seeds import seeds

    from kflare.flares.repairing import read_flares
    from kflare.sharp.keywords import read_sharp_table
    from kflare.xray.flux import read_xray_flux

    for name, content, read in seeds():
        kind = {read_flares: "flares", read_xray_flux: "XRS", read_sharp_table: "SHARP"}.get(read, "FITS")
        structure = of_netcdf4 if content.startswith(b"\x89HDF") else None
        yield Target(kind, name, content, "".join(Path(name).suffixes[-1:]), read, structure=structure)


def solar() -> Iterator[Target]:
    """Images of AIA, segments of vector fields, the box of a SHARP and attribution maps, in FITS."""
    import numpy as np
    import pandas as pd
    from astropy.io import fits
    from observation_sets import write_observations

    from kflare.attribution.attribution_file import Attribution, Origin, read_attribution, write_attribution
    from kflare.attribution.region_tables import read_sharp_box
    from kflare.observations.identity import identify
    from kflare.observations.reading import magnetogram_time
    from kflare.observations.solar_image import read_solar_image
    from kflare.regions.vector_files import read_vector
    from kflare.synthetic.sun import SyntheticSun

    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    start = datetime(2014, 1, 1, tzinfo=UTC)
    sun = SyntheticSun(start, 1, seed=1, activity=3.0)
    write_observations(sun, folder, pd.DatetimeIndex([start]), size=64, full_disk_vector=True)
    magnetogram = sun.magnetogram(start, 64)
    segments = {name: next(folder.glob(f"*.{name}.fits")) for name in ("field", "inclination", "azimuth", "disambig")}

    def vector(segment: str) -> Callable[[Path], object]:
        return lambda path: read_vector(**{**segments, segment: path}, magnetogram=magnetogram)

    aia = next(folder.glob("aia.*.131.*.fits")).read_bytes()
    yield Target("FITS", "AIA image", aia, ".fits", lambda path: read_solar_image(path, wavelength=131))
    los = next(folder.glob("hmi.M_*.fits")).read_bytes()
    yield Target("FITS", "time of a magnetogram", los, ".fits", magnetogram_time)
    yield Target("FITS", "what a file is of", los, ".fits", identify)
    yield Target("FITS", "vector: field", segments["field"].read_bytes(), ".fits", vector("field"))
    yield Target("FITS", "vector: disambig", segments["disambig"].read_bytes(), ".fits", vector("disambig"))

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
    yield Target("FITS", "SHARP box", stream.getvalue(), ".fits", read_sharp_box)
    maps = np.random.default_rng(0).normal(size=(1, 32, 32, 2)).astype(np.float32)
    outputs = {"probability": np.zeros(1), "calibrated": np.zeros(1), "grad_cam": maps[:, ::4, ::4]}
    made = Attribution.of_reply({**outputs, "guided_backprop": maps}, 0, magnetogram, origin=Origin("cnn-c", 1))
    write_attribution(made, folder / "maps.fits")
    yield Target("FITS", "attribution maps", (folder / "maps.fits").read_bytes(), ".fits", read_attribution)


def tables() -> Iterator[Target]:
    """Region reports, tables of regions, SHARP samples and forecasts, and settings."""
    import pandas as pd

    from kflare.attribution.region_tables import read_regions
    from kflare.datasets.region_table import read_region_table, region_numbers
    from kflare.flares.catalogue import FlareList
    from kflare.flares.srs import read_srs
    from kflare.operations.settings import as_toml, read_settings
    from kflare.sharp.daily import read_sharp_daily
    from kflare.sharp.keywords import SHARP_KEYWORDS, read_sharp_table
    from kflare.sharp.samples import read_sharp_samples
    from kflare.synthetic.sun import SyntheticSun
    from kflare.verification.tables import forecast_table, read_forecasts

    def parquet(table: pd.DataFrame) -> bytes:
        return bytes(table.to_parquet())

    yield Target("SRS", "SRS text", SRS.encode(), ".txt", read_srs)
    yield Target("SRS", "SRS table", SRS_TABLE.encode(), ".csv", read_srs)
    yield Target("SRS", "SRS table of attribute", SRS_TABLE.encode(), ".csv", read_regions)
    sun = SyntheticSun(datetime(2014, 1, 1, tzinfo=UTC), 2, seed=1, activity=3.0)
    regions = sun.region_table(sun.times(6))[:8]
    yield Target("regions", "region table, CSV", regions.to_csv(index=False).encode(), ".csv", read_region_table)
    named = regions.assign(noaas=["10001 10002", *regions["noaa"].astype(str)[1:]]).to_csv(index=False).encode()
    yield Target("regions", "numbers of regions", named, ".csv", lambda path: region_numbers(read_region_table(path)))
    keywords = 'T_REC,HARPNUM,NOAA_AR,NOAA_ARS,USFLUX,QUALITY\n2014-02-25 00:48:00,3784,11990,"11990,11992",1e22,0x00\n'
    yield Target("SHARP", "SHARP keywords, CSV", keywords.encode(), ".csv", read_sharp_table)
    yield Target("regions", "region table, Parquet", parquet(regions), ".parquet", read_region_table)
    yield Target("regions", "regions of attribute", regions.to_csv(index=False).encode(), ".csv", read_regions)
    daily = [["T_REC", "NOAA_AR", *SHARP_KEYWORDS], ["2013-10-23T00:00:00", 11875, *range(len(SHARP_KEYWORDS))]]
    text = "\n".join(";".join(map(str, row)) for row in daily)
    yield Target("SHARP", "daily SHARP table", text.encode(), ".csv", read_sharp_daily)

    flares = pd.DataFrame(
        [("2010-01-01", "B1.0", pd.NA), ("2011-02-15 01:44", "X2.2", 11158), ("2012-01-01", "B1.0", pd.NA)],
        columns=["start", "goes_class", "noaa"],
    )
    listed = FlareList(flares.assign(start=pd.to_datetime(flares["start"], utc=True, format="ISO8601")), "here")
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))

    def samples(path: Path) -> object:
        (folder / "sharp_0.csv").write_bytes(path.read_bytes())
        return read_sharp_samples(folder, flares=listed, harp_noaa=None)

    yield Target("SHARP", "SHARP samples", SAMPLES.encode(), ".csv", samples)
    forecasts = pd.DataFrame(
        {"time": pd.date_range("2016-01-01", periods=6), "method": ["NOAA", "SIDC"] * 3, "probability": 0.25,
         "observed": [0, 0, 1, 1, 0, 0]}
    )  # fmt: skip
    forecasts["time"] = sorted([*forecasts["time"][:3]] * 2)

    def checked(path: Path) -> object:
        return forecast_table(read_forecasts(path))

    yield Target("forecasts", "forecasts, CSV", forecasts.to_csv(index=False).encode(), ".csv", checked)
    yield Target("forecasts", "forecasts, Parquet", parquet(forecasts), ".parquet", checked)
    (folder / "kflare.toml").write_text("")
    yield Target(
        "settings", "settings", as_toml(read_settings(folder / "kflare.toml")).encode(), ".toml", read_settings
    )


def ledgers() -> Iterator[Target]:
    """Database URLs of the ledger, its file, and what the site publishes."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    from kflare.operations.forecast import Forecast, Probability
    from kflare.operations.ledger import Ledger
    from kflare.operations.publish.latest import latest_text, read_latest

    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    os.chdir(folder)  # where databases of relative paths go
    issue = datetime(2026, 1, 1, 3, tzinfo=UTC)
    forecast = Forecast("c", issue, issue, issue, issue + DAY, issue + DAY, "all features", "", (),
                        {"M": Probability(0.4, 0.1)})  # fmt: skip
    with Ledger(f"sqlite:///{folder}/seed.sqlite") as ledger:
        ledger.record(forecast)

    def opened(path: Path) -> None:
        url = path.read_bytes().decode("utf-8", "surrogateescape")
        try:
            place = make_url(url).database or ""
        except (ArgumentError, ValueError):
            place = ""
        # A path that happens to be absolute would leave a file anywhere.
        if not place.startswith("/") or place.startswith(("/no/such", str(folder))):
            Ledger(url).close()

    def read(path: Path) -> list[Any]:
        with Ledger(f"sqlite:///{path}") as ledger:
            return [*ledger.cycles(issue - 9 * DAY, issue + 9 * DAY)]

    yield Target("ledger URLs", "ledger URL", b"sqlite:///ledger.sqlite", ".url", opened)
    yield Target("ledger", "ledger file", (folder / "seed.sqlite").read_bytes(), ".sqlite", read)
    latest = latest_text(forecast).encode()
    yield Target("ledger", "latest.json", latest, ".json", lambda path: read_latest(path.read_bytes().decode("latin1")))


def requests() -> Iterator[Target]:
    """Bodies of requests to the embedded server, gRPC and REST, up to the session; and its configuration."""
    from google.protobuf.message import DecodeError
    from google.protobuf.text_format import Parse
    from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo
    from tensorflow_serving.apis import predict_pb2

    from kflare.serving.rest.json_tensors import fill_request, parse
    from kflare.serving.server.config_files import read_models_config
    from kflare.serving.server.limits import Admission, Limits
    from kflare.serving.server.metrics import Metrics
    from kflare.serving.server.signature_checks import read_inputs

    admission = Admission(Limits(), Metrics())
    info = Parse('name: "x:0" dtype: DT_FLOAT tensor_shape { dim { size: -1 } dim { size: 2 } }', TensorInfo())
    signature = SimpleNamespace(inputs={"a": info, "b": info}, outputs={}, defaults={})
    request = predict_pb2.PredictRequest()
    for name in signature.inputs:
        Parse("dtype: DT_FLOAT tensor_shape { dim { size: 2 } dim { size: 2 } }", request.inputs[name])
        request.inputs[name].tensor_content = bytes(16)

    def grpc(path: Path) -> object:
        try:
            sent = predict_pb2.PredictRequest.FromString(path.read_bytes())
        except DecodeError:  # gRPC's own answer
            return None
        with admission.enter() as share:
            return read_inputs(signature, sent, lambda rows, size: share.hold(size, rows=rows))

    def rest(path: Path) -> object:
        return fill_request(predict_pb2.PredictRequest(), parse(path.read_bytes()), signature.inputs)

    body = {"instances": [{"a": [1.0, 2.0], "b": [3, 4.5]}] * 2, "signature_name": "serving_default"}
    config = b'model_config_list {\n config { name: "cnn-c" base_path: "/srv" model_platform: "tensorflow" }\n}\n'
    yield Target("requests", "PredictRequest", request.SerializeToString(), ".request", grpc)
    yield Target("requests", "REST body", json.dumps(body).encode(), ".json", rest)
    yield Target("requests", "models.config", config, ".config", read_models_config)


#: What is fuzzed, and the kinds of it. A room that reads another kind of file adds a function that yields its targets.
SOURCES: dict[Callable[[], Iterator[Target]], tuple[str, ...]] = {
    magnetograms: ("FITS", "JP2", "images"),
    catalogues: ("flares", "XRS", "SHARP", "FITS"),
    solar: ("FITS",),
    tables: ("SRS", "regions", "SHARP", "forecasts", "settings"),
    ledgers: ("ledger URLs", "ledger"),
    requests: ("requests",),
}
