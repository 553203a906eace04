"""No content of a catalogue file gives anything but a result or a KflareError, and none of it much memory."""

import json
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kflare.errors import DataError, KflareError
from kflare.flares.repairing import read_flares
from kflare.io import catalogue_file
from kflare.sharp.keywords import read_sharp_header
from kflare.xray.flux import read_xray_flux
from tests import catalogue_seeds as seeds

SEEDS = seeds.seeds()

READERS = [read_flares, read_xray_flux, read_sharp_header]
HEADS = [
    b"",
    b"[",
    b"{",
    b'{"result": [',
    b":Product: ",
    b"#Event ",
    b"start,peak,end,goes_class\n",
    b"\x89HDF\r\n\x1a\n",
    b"CDF\x01",
    b"CDF\x02",
    b"SIMPLE  =                    T",
    b"\xef\xbb\xbf",
    b"<html>",
]


def judged(reader, path):
    """The result, or None where it was refused in one line; any other exception is a failure."""
    try:
        return reader(path)
    except KflareError as error:
        lines = len(str(error).splitlines())
    assert lines == 1
    return None


@pytest.mark.parametrize(("name", "payload", "reader"), SEEDS, ids=[name for name, _, _ in SEEDS])
def test_the_seeds_are_valid(tmp_path, name, payload, reader):
    (tmp_path / name).write_bytes(payload)
    assert len(reader(tmp_path / name)) > 0


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(head=st.sampled_from(HEADS), tail=st.binary(max_size=600), reader=st.sampled_from(READERS))
def test_any_bytes(tmp_path, head, tail, reader):
    path = tmp_path / "20150301_g15.dat"
    path.write_bytes(head + tail)
    judged(reader, path)


@pytest.mark.parametrize(("name", "payload", "reader"), SEEDS, ids=[name for name, _, _ in SEEDS])
def test_damaged_files(tmp_path, monkeypatch, name, payload, reader):
    monkeypatch.setattr("kflare.io.hdf5_series.TIME_LIMIT", 2.0)
    path = tmp_path / name
    shuffle = random.Random(name)
    # A damaged HDF5 file may take the whole of its reader's patience.
    for _ in range(12 if payload.startswith(b"\x89HDF") else 20):
        damaged = bytearray(payload)
        for _ in range(shuffle.choice([1, 2, 8, 40])):
            place = shuffle.randrange(len(damaged))
            flipped = damaged[place] ^ (1 << shuffle.randrange(8))
            damaged[place] = shuffle.choice([0, 0xFF, 0x20, 0x2C, 0x22, 0x39, flipped])
        if shuffle.random() < 0.3:
            del damaged[shuffle.randrange(len(damaged)) :]
        path.write_bytes(bytes(damaged))
        judged(reader, path)


TEXTS = ["2013-10-23T20:41:00Z", "M2.7", "XRA", "FLA", "N10W20", "SWPC", "0.1-0.8nm", "\ud800", "9999-12-31 23:59"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(TEXTS),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)
KEYS = [
    *("start", "peak", "end", "goes_class", "noaa", "lon", "lat", "type", "bin", "location", "region", "particulars1"),
    *("begin_datetime", "max_datetime", "end_datetime", "event_starttime", "event_peaktime", "event_endtime"),
    *("fl_goescls", "hgs_x", "hgs_y", "frm_name", "time_tag", "energy", "flux", "satellite", "electron_contaminaton"),
]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES) | VALUES, max_size=4),
    base=st.sampled_from([[], seeds.EDITED_EVENTS, seeds.XRAY_FLARES, seeds.HEK_RECORDS, seeds.XRAYS]),
)
def test_any_json_records(tmp_path, records, base):
    path = tmp_path / "records.json"
    path.write_text(json.dumps([*base, *records]))
    flares = judged(read_flares, path)
    if flares is not None and len(flares):
        assert (flares.table["flux"] > 0).all()
        assert not (flares.table["end"] < flares.table["start"]).any()
        _ = flares.span
    flux = judged(read_xray_flux, path)
    if flux is not None:
        assert (flux.table["flux"].dropna() > 0).all()


def test_more_than_a_catalogue_can_be_is_refused_unread(tmp_path):
    path = tmp_path / "list.csv"
    with path.open("wb") as stream:
        stream.truncate(catalogue_file.MAX_TEXT_BYTES + 1)
    for reader in (read_flares, read_xray_flux):
        with pytest.raises(DataError, match="at most 32 MiB"):
            reader(path)
    with path.open("wb") as stream:
        stream.write(b"SIMPLE  =")
        stream.truncate((1 << 26) + 1)
    with pytest.raises(DataError, match="at most 64 MiB"):
        read_sharp_header(path)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"," * 200_000 + b"\n", id="a header of commas"),
        pytest.param(b"start,peak,end,goes_class\n" + b"," * 200_000, id="a row of commas"),
        pytest.param(b'start,"' + b"\n" * 200_000, id="an endless quote"),
        pytest.param(b"[" * 100_000, id="endless nesting"),
        pytest.param(b"[" + b"9" * 10_000 + b"]", id="an endless number"),
        pytest.param(b'{"result": {"a": 1}}', id="no list"),
        pytest.param(b"<html><body>503 Service Unavailable</body></html>", id="an HTML page"),
        pytest.param(b'"a\nb",c\n1,2\n', id="a header of two lines"),
        pytest.param(b'[{"a\\nb": 1}]', id="a key of two lines"),
        pytest.param(b"\xff\xfes\x00t\x00a\x00r\x00t\x00", id="UTF-16"),
    ],
)
def test_bombs_and_wrong_files(tmp_path, payload):
    path = tmp_path / "list.dat"
    path.write_bytes(payload)
    for reader in (read_flares, read_xray_flux):
        with pytest.raises(DataError, match=r"^.*list\.dat[^\n]*$") as caught:
            reader(path)
        assert len(str(caught.value)) < 2000
