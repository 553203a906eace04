"""A stand-in for JSOC, SWPC, Helioviewer and SOHO's archive: real HTTP on loopback, with the faults of the real ones.

It speaks as much of JSOC's CGI programs as drms's own client needs: `jsoc_info` (rs_list, rs_summary, series_struct)
and `jsoc_fetch` (exp_request, exp_status; url_quick). Its FITS files are like those of JSOC's quick exports, compressed
and without keywords. Times are handled without kflare: TAI is UTC and a whole number of seconds.

    with StandIn() as sun:
        sun.add_hmi("hmi.M_720s_nrt", datetime(2026, 1, 1, 2, tzinfo=UTC))
        sun.fail("jsoc_info", "html", times=1)
        Jsoc(web, sun.url)...
"""

import io
import json
import re
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
from astropy.io import fits
from PIL import Image

HMI_KEYS = (
    ("T_REC", "time", "nominal time"),
    ("T_OBS", "time", "observation time"),
    ("DATE__OBS", "time", "[DATE-OBS] start of the observation; ISO 8601"),
    ("QUALITY", "int", "level 1 quality"),
    ("HARPNUM", "int", "active region patch"),
    ("WAVELNTH", "int", "wavelength"),
    ("TELESCOP", "string", ""),
    ("INSTRUME", "string", ""),
    ("CONTENT", "string", ""),
    ("BUNIT", "string", ""),
    ("CRPIX1", "float", ""),
    ("CRPIX2", "float", ""),
    ("CRVAL1", "float", ""),
    ("CRVAL2", "float", ""),
    ("CDELT1", "float", ""),
    ("CDELT2", "float", ""),
    ("CROTA2", "float", ""),
    ("RSUN_OBS", "double", ""),
    ("DSUN_OBS", "double", ""),
    ("CRLN_OBS", "float", ""),
    ("CRLT_OBS", "float", ""),
    ("TOTVALS", "int", ""),
    ("MISSVALS", "int", ""),
    ("DATAMEAN", "float", "nan here"),
    ("LONG_KEYWORD", "string", "its name does not fit FITS"),
)


# TAI − UTC in seconds from a day on (IERS Bulletin C).
LEAPS = (((2017, 1), 37), ((2015, 7), 36), ((2012, 7), 35), ((2009, 1), 34), ((2006, 1), 33), ((1999, 1), 32))


def leap_seconds(utc):
    return timedelta(seconds=next(seconds for begin, seconds in LEAPS if (utc.year, utc.month) >= begin))


def tai_text(utc):
    return (utc + leap_seconds(utc)).strftime("%Y.%m.%d_%H:%M:%S_TAI")


def utc_from(tai):
    return tai - leap_seconds(tai - leap_seconds(tai))


def utc_of(text):
    """UTC of `2026.01.01_00:00:37_TAI` or `2026-01-01T00:00:00Z`."""
    if text.endswith("Z"):
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return utc_from(datetime.strptime(text, "%Y.%m.%d_%H:%M:%S_TAI").replace(tzinfo=UTC))


def slot(utc, step=timedelta(minutes=12)):
    """UTC of the slot, counted from midnight TAI, that begins at or before a time."""
    tai = utc + leap_seconds(utc)
    midnight = tai.replace(hour=0, minute=0, second=0, microsecond=0)
    return utc_from(midnight + (tai - midnight) // step * step)


@cache
def quick_export(seed=0, width=64, noise=30.0):
    """A FITS file as JSOC's quick exports are: RICE-compressed, in tenths of a gauss, hardly any header."""
    rows, columns = np.mgrid[:width, :width] - (width - 1) / 2
    field = np.random.default_rng(seed).normal(0, noise, (width, width))
    field[np.hypot(rows, columns) > 0.42 * width] = np.nan
    field[width // 4, width // 3] = 1500.0
    tenths = np.where(np.isnan(field), -(2**31), np.round(np.nan_to_num(field) * 10)).astype(np.int32)
    image = fits.CompImageHDU(tenths, compression_type="RICE_1")
    image.header["BLANK"] = -(2**31)
    image.header["BSCALE"] = 0.1
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(stream)
    return stream.getvalue()


@cache
def picture(kind="JPEG", width=64):
    """A grey image of a disk."""
    rows, columns = np.mgrid[:width, :width] - (width - 1) / 2
    grey = np.where(np.hypot(rows, columns) < 0.44 * width, 127, 0).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, kind)
    return stream.getvalue()


def xrays(until, minutes=120, satellite=18):
    """SWPC's X-ray feed: both channels of every minute before a time."""
    rows = []
    for back in range(minutes, 0, -1):
        tag = f"{until - timedelta(minutes=back):%Y-%m-%dT%H:%M:00Z}"
        for energy, flux in (("0.05-0.4nm", 1e-9), ("0.1-0.8nm", 2e-7)):
            rows.append({"time_tag": tag, "satellite": satellite, "flux": flux, "energy": energy})
    return rows


@dataclass
class StoredRecord:
    """A record of a series: its time in UTC, its prime keys as they stand in its name, keywords and files."""

    series: str
    time: datetime
    primes: tuple
    keywords: dict
    segments: dict  # name -> bytes, or None where it is on tape

    @property
    def name(self):
        return self.series + "".join(f"[{prime}]" for prime in self.primes)


@dataclass
class Fault:
    """What goes wrong with requests whose path and query match a pattern."""

    pattern: str
    kind: str
    left: float
    status: int = 500
    seconds: float = 0.0
    size: int = 0
    headers: dict = field(default_factory=dict)


class StandIn:
    """The server; use it as a context. `url` is its address, `log` the paths that were asked for.

    Parameters
    ----------
    ranges : bool
        Whether files can be had in parts and have an ETag.
    chunked : bool
        Whether files come without their size.
    """

    def __init__(self, *, ranges=True, chunked=False):
        self.ranges = ranges
        self.chunked = chunked
        self.records = []
        self.files = {}  # path -> bytes
        self.listings = {}  # path of a directory -> names in it
        self.feeds = {}  # path -> what is sent as JSON
        self.images = []  # times of Helioviewer's images
        self.exports = {}  # request id -> questions still answered "pending", and the answer
        self.pending = 0  # how often a new export is pending at first
        self.export_errors = []  # (status, message) of the next exports
        self.faults = []
        self.log = []
        self.headers = []
        self._etags = 0

    def __enter__(self):
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # header and body are sent one after the other

            def do_GET(self):
                try:
                    stand_in.answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # the client lost patience

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # -- what it holds ---------------------------------------------------------------------------------------------

    def add(self, series, utc, *, primes, segments, quality=0x400, clock="TAI", **keywords):
        text = tai_text(utc) if clock == "TAI" else f"{utc:%Y-%m-%dT%H:%M:%SZ}"
        names = tuple(text if prime == "T_REC" else keywords.get(prime, prime) for prime in primes)
        told = {
            "T_REC": text, "T_OBS": text, "DATE__OBS": f"{utc:%Y-%m-%dT%H:%M:%S.50Z}",
            "QUALITY": f"0x{quality:08x}", "DATAMEAN": "nan", "LONG_KEYWORD": "none",
        }  # fmt: skip
        record = StoredRecord(series, utc, names, told | {key: str(value) for key, value in keywords.items()}, segments)
        self.records.append(record)
        return record

    def add_hmi(self, series, utc, *, quality=0x400, content=None, segment="magnetogram", **keywords):
        """A full-disk record at the slot of a time; 64² as for HMI, the disk 27 pixels in radius."""
        content = quick_export() if content is None else content
        pointing = {
            "CRPIX1": 32.5, "CRPIX2": 32.5, "CRVAL1": 0, "CRVAL2": 0, "CDELT1": 36.0, "CDELT2": 36.0, "CROTA2": 180.0,
            "RSUN_OBS": 972.0, "DSUN_OBS": 1.4710e11, "CRLN_OBS": 100.0, "CRLT_OBS": -3.0,
            "TELESCOP": "SDO/HMI", "INSTRUME": "HMI_FRONT2", "CONTENT": "MAGNETOGRAM", "BUNIT": "Gauss",
            "WAVELNTH": 6173, "TOTVALS": 2290, "MISSVALS": 0,
        }  # fmt: skip
        return self.add(
            series, slot(utc), primes=("T_REC", "3"), segments={segment: content}, quality=quality,
            **(pointing | keywords),
        )  # fmt: skip

    def add_harp(self, utc, harpnum, *, quality=0x400):
        parts = {name: quick_export(seed) for seed, name in enumerate(("field", "inclination", "azimuth", "disambig"))}
        return self.add(
            "hmi.bharp_720s_nrt", slot(utc), primes=("HARPNUM", "T_REC"), segments=parts, quality=quality,
            HARPNUM=harpnum,
        )  # fmt: skip

    def add_aia(self, utc, wavelength, *, quality=0x40000000):
        return self.add(
            "aia.lev1_nrt2", utc, primes=("T_REC", "203143486"), segments={"image_lev1": quick_export()},
            quality=quality, clock="UTC", WAVELNTH=wavelength,
        )  # fmt: skip

    def add_forecast_set(self, utc):
        """Every kind of data that a forecast is made from, at about one time, and SWPC's feeds up to an hour later."""
        self.add_hmi("hmi.M_720s_nrt", utc)
        self.add_hmi("hmi.Ic_noLimbDark_720s_nrt", utc, segment="continuum", CONTENT="CONTINUUM INTENSITY")
        for harpnum in (11001, 11002):
            self.add_harp(utc, harpnum)
        for wavelength in (131, 193, 304, 1600):
            self.add_aia(utc.replace(microsecond=0), wavelength)
        self.feeds["/json/goes/primary/xrays-7-day.json"] = xrays(utc + timedelta(hours=1))
        self.feeds["/json/goes/primary/xray-flares-7-day.json"] = []
        self.feeds["/json/edited_events.json"] = []

    def fail(self, pattern, kind, *, times=float("inf"), **how):
        """Let requests whose path and query match a pattern fail, as often as `times` says.

        `kind` is "status" (with `status` and `headers`), "html" with status 200, "slow" (after `seconds`), "trickle"
        (a byte each `seconds`), "truncate" (after `size` bytes), "announce" (`size` bytes, and sends what there is), or
        "reset" (hang up).
        """
        self.faults.append(Fault(pattern, kind, times, **how))

    def asked(self, pattern):
        """Requests so far whose path and query match."""
        return [path for path in self.log if re.search(pattern, path)]

    # -- how it answers --------------------------------------------------------------------------------------------

    def answer(self, request):
        self.log.append(request.path)
        self.headers.append(dict(request.headers))
        fault = next((f for f in self.faults if f.left > 0 and re.search(f.pattern, request.path)), None)
        if fault is not None:
            fault.left -= 1
            if fault.kind == "status":
                return send(request, fault.status, b"no", "text/plain", fault.headers)
            if fault.kind == "html":
                page = b"<!DOCTYPE html>\n<html><head><title>JSOC is busy</title></head><body>Sorry</body></html>"
                return send(request, 200, page, "text/html")
            if fault.kind == "reset":
                request.close_connection = True
                request.connection.shutdown(socket.SHUT_RDWR)
                return None
            if fault.kind == "slow":
                time.sleep(fault.seconds)
        reply = self.reply(request.path)
        if reply is None:
            return send(request, 404, b"<html><title>404 Not Found</title></html>", "text/html")
        body, kind, headers = reply
        return self.send_file(request, body, kind, headers, fault)

    def send_file(self, request, body, kind, headers, fault):
        etag = f'"{len(body)}-{self._etags}"'
        start = 0
        extra = dict(headers)
        if self.ranges:
            extra |= {"Accept-Ranges": "bytes", "ETag": etag}
            wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
            if wanted and request.headers.get("If-Range") == etag:
                start = int(wanted[1])
                extra["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        part = body[start:]
        request.send_response(206 if start else 200)
        request.send_header("Content-Type", kind)
        for name, value in extra.items():
            request.send_header(name, value)
        if self.chunked:
            request.send_header("Connection", "close")
            request.close_connection = True
        else:
            lie = fault is not None and fault.kind == "announce"
            request.send_header("Content-Length", str(fault.size if lie else len(part)))
            request.close_connection = request.close_connection or lie
        request.end_headers()
        if fault is not None and fault.kind == "truncate":
            request.wfile.write(part[: fault.size])
            request.close_connection = True
        elif fault is not None and fault.kind == "trickle":
            for place in range(len(part)):
                request.wfile.write(part[place : place + 1])
                time.sleep(fault.seconds)
        else:
            request.wfile.write(part)

    def changed(self):
        """All files change on the server: what was begun cannot be gone on with."""
        self._etags += 1

    def reply(self, address):
        parts = urlsplit(address)
        query = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        path = parts.path
        if path in self.files:
            return self.files[path], "application/octet-stream", {}
        if path in self.feeds:
            return encoded(self.feeds[path])
        if path in self.listings:
            rows = "".join(f'<a href="{name}">{name}</a>\n' for name in self.listings[path])
            return f"<html><title>Index of {path}</title>{rows}</html>".encode(), "text/html", {}
        if path.endswith("/jsoc_info"):
            return encoded(self.jsoc_info(query))
        if path.endswith("/jsoc_fetch"):
            return encoded(self.jsoc_fetch(query))
        if "getClosestImage" in path:
            found = self.closest(query["date"])
            return encoded({"id": "1", "date": f"{found:%Y-%m-%d %H:%M:%S}", "name": "HMI Magnetogram"})
        if "getJP2Image" in path:
            found = self.closest(query["date"])
            name = f"{found:%Y_%m_%d__%H_%M_%S}_000__SDO_HMI_HMI_magnetogram.jp2"
            return picture("JPEG2000"), "image/jp2", {"Content-Disposition": f'attachment; filename="{name}"'}
        if path.startswith("/SUM"):
            _, number, _, segment = path.strip("/").split("/")
            content = self.records[int(number[1:])].segments[segment.removesuffix(".fits")]
            return content, "application/fits", {}
        return None

    def closest(self, text):
        wanted = datetime.fromisoformat(text)
        return min(self.images, key=lambda image: (abs(image - wanted), image))

    # -- JSOC ------------------------------------------------------------------------------------------------------

    def selected(self, text):
        """Records of a record set: `series[prime]...[since-until@step][? KEY=VALUE ?]{segments}`."""
        series = re.match(r"[\w.]+", text)[0]
        known = [record for record in self.records if record.series.lower() == series.lower()]
        if not known:
            return None
        found = sorted(known, key=lambda record: record.time)
        for place, bracket in enumerate(re.findall(r"\[([^\[\]]*)\]", text)):
            condition = re.fullmatch(r"\?\s*(\w+)\s*=\s*(\w+)\s*\?", bracket)
            window = re.fullmatch(r"(\S+_TAI|\S+?Z)-(\S+?(?:_TAI|Z))(?:@(\d+)s)?", bracket)
            if condition:
                found = [record for record in found if record.keywords.get(condition[1]) == condition[2]]
            elif window:
                since, until = utc_of(window[1]), utc_of(window[2])
                step = int(window[3] or 0)
                found = [
                    record
                    for record in found
                    if since <= record.time <= until and not (step and (record.time - since).total_seconds() % step)
                ]
            elif bracket:
                found = [record for record in found if str(record.primes[place]) == bracket]
        return found

    def path_of(self, record, segment):
        if record.segments.get(segment) is None:
            return "NoDataDirectory"
        return f"/SUM1/D{self.records.index(record)}/S00000/{segment}.fits"

    def jsoc_info(self, query):
        if query["op"] == "series_struct":
            keywords = [{"name": n, "type": t, "note": note, "units": "none"} for n, t, note in HMI_KEYS]
            record = next((r for r in self.records if r.series.lower() == query["ds"].lower()), None)
            if record is None:
                return {"status": 1, "error": f"unknown series {query['ds']}"}
            primes = ["HARPNUM", "T_REC"] if "harp" in query["ds"] else ["T_REC", "CAMERA"]
            segments = [{"name": name, "type": "int", "protocol": "fits"} for name in record.segments]
            return {
                "status": 0,
                "note": "",
                "primekeys": primes,
                "keywords": keywords,
                "links": [],
                "segments": segments,
            }
        found = self.selected(query["ds"])
        if found is None:
            return {"status": 1, "error": f"unknown series in {query['ds']}"}
        if query["op"] == "rs_summary" or not found:
            return {"status": 0, "count": len(found), "runtime": 0.01}
        keys = query["key"].split(",")
        if keys == ["**ALL**"]:
            keys = sorted({key for record in found for key in record.keywords})
        answer = {"status": 0, "count": len(found), "runtime": 0.01}
        answer["keywords"] = [
            {"name": key, "values": [record.keywords.get(key, "Invalid KeyLink") for record in found]} for key in keys
        ]
        answer["segments"] = [
            {"name": name, "values": [self.path_of(record, name) for record in found]}
            for name in query.get("seg", "").split(",")
            if name
        ]
        if query.get("R"):
            answer["recinfo"] = [{"name": record.name} for record in found]
        return answer

    def jsoc_fetch(self, query):
        if query["op"] == "exp_status":
            left, answer = self.exports[query["requestid"]]
            self.exports[query["requestid"]] = (left - 1, answer)
            return answer if left <= 0 else {"status": 1, "requestid": query["requestid"], "wait": 0}
        if self.export_errors:
            status, message = self.export_errors.pop(0)
            return {"status": status, "error": message}
        if "@" not in query["notify"]:
            return {"status": 4, "error": "not an address"}
        found = self.selected(query["ds"]) or []
        segments = re.search(r"\{([^{}]*)\}", query["ds"])[1].split(",")
        data = []
        for record in found:
            for name in segments:
                if record.segments.get(name) is None and name in record.segments:
                    record.segments[name] = quick_export()  # brought back from tape
                path = self.path_of(record, name)
                data.append({"record": f"{record.name}{{{name}}}", "filename": path})
        done = {"status": 0, "requestid": "", "method": "url_quick", "protocol": "as-is", "dir": "", "data": data}
        if not self.pending:
            return done
        number = f"JSOC_{len(self.exports):04d}"
        self.exports[number] = (self.pending - 1, done | {"requestid": number})
        return {"status": 2, "requestid": number, "wait": 0}


def send(request, status, body, kind, headers=None):
    request.send_response(status)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(body)))
    for name, value in (headers or {}).items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)


def encoded(value):
    return json.dumps(value).encode(), "application/json", {}


@contextmanager
def refusing():
    """Address of a port that refuses connections for as long as the context lasts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
