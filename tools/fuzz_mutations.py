"""Ways to damage a file, byte by byte and by what it is made of (`STRUCTURES`), each from a seeded source of chance."""

import io
import json
import math
import re
import struct
from collections.abc import Callable
from random import Random
from typing import Any

# Numbers that have a meaning for parsers, as text and as bytes.
TEXTS = [b"nan", b"inf", b"-1", b"0", b"1e400", b"99999999999", b"4294967295", b"-2147483648", b"T", b"'", b"END",
         b"\n", b"<", b"&", b"{", b"[", b'"', b",", b"null", b"\xff", b"\x00"]  # fmt: skip
NUMBERS = [0, 1, 7, 8, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
#: What stands in a field instead of what belongs there.
VALUES = [
    *("", " ", "nan", "inf", "-inf", "0", "-1", "1e30", "1e-320", "1e400", "-0.0", "99999999999999999999", "11875.5"),
    *("4294967296", "true", "None", "null", "[]", "{}", "'", '"', "½", "\x00", "\u2028", "²", "x" * 5000, "9" * 400),
    *("2013-10-23T25:61:00Z", "0001-01-01", "9999-12-31T23:59:59Z", "1600-01-01T00:00:00Z", "2013-10-23 00:00+05:00"),
    *("2013.10.23_00:00:00_TAI", "20131023", "12:00", "M1", "X1e9", "X 20", "N99W99", "HPLN-TAN", "Gauss", "T"),
    *("//host/x", "../x", "%s", "$HOME", "-----"),
]
OBJECTS = [None, True, 0, -1, 1e30, 10**20, 10**400, 1.5, "", "x", "nan", [], {}, [[]], {"a": []},
           "2013-10-23T25:61:00Z", "9999-12-31T23:59:59Z", math.nan, math.inf]  # fmt: skip

Structure = Callable[[bytes, Random], bytes]


def of_bytes(seed: bytes, chance: Random) -> bytes:
    """One to eight mutations of bytes, half of them near the begin."""
    data = bytearray(seed)
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
    return bytes(data)


def of_cards(seed: bytes, chance: Random) -> bytes:
    """Cards of a FITS header: another value or keyword, one twice, absent, or two exchanged; still 80 bytes each."""
    data = bytearray(seed)
    card_like = re.compile(rb"[A-Z0-9_-]{1,8} *= ")
    cards = [place for place in range(0, len(data) - 79, 80) if card_like.match(data, place)]
    for _ in range(chance.choice((1, 1, 2, 3))):
        place = chance.choice(cards)
        card = data[place : place + 80].decode("latin1")
        kind = chance.randrange(6)
        value = chance.choice(VALUES)
        quoted = f"'{value}'" if chance.random() < 0.3 else value
        other = chance.choice(cards)
        if kind <= 2:
            card = f"{card[:10]}{quoted:>20}"
        elif kind == 3:
            keyword = chance.choice(("NAXIS", "BITPIX", "BLANK", "BSCALE", "BZERO", "CROTA2", "T_OBS", "RSUN_OBS"))
            card = f"{keyword:8}{card[8:]}"
        elif kind == 4:
            card = "" if chance.random() < 0.5 else data[other : other + 80].decode("latin1")
        else:
            data[other : other + 80] = data[place : place + 80]
        # Bytes beyond ASCII are no FITS, which is a case of its own.
        data[place : place + 80] = card.encode("latin1", "replace")[:80].ljust(80)
    return bytes(data)


def of_lines(seed: bytes, chance: Random) -> bytes:
    """Fields and lines of a text: another value, one less or more, exchanged, twice, or very many."""
    lines = seed.decode("utf-8", "replace").split("\n")
    for _ in range(chance.choice((1, 1, 2, 4))):
        row = chance.randrange(len(lines))
        parts = re.split(r"([,;\t=]| +)", lines[row])
        place = 2 * chance.randrange((len(parts) + 1) // 2)
        kind = chance.randrange(10)
        if kind <= 4:
            parts[place] = chance.choice(VALUES)
        elif kind == 5:
            del parts[place : place + 2]
        elif kind == 6:
            parts[place:place] = [chance.choice(VALUES), parts[1] if len(parts) > 1 else ","]
        lines[row] = "".join(parts)
        if kind == 7:
            other = chance.randrange(len(lines))
            lines[row], lines[other] = lines[other], lines[row]
        elif kind == 8:
            lines[row:row] = [lines[row]] * chance.choice((1, 1, 50))
        elif kind == 9:
            del lines[row]
        if not lines:
            return b""
    return "\n".join(lines).encode("utf-8", "replace")


def of_json(seed: bytes, chance: Random) -> bytes:
    """Values of a JSON document: another one, one less, one twice, or under another name."""
    content = json.loads(seed)
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        for key in keys:
            places.append((value, key))
            walk(value[key])

    walk(content)
    for _ in range(chance.choice((1, 1, 2, 4))):
        if not places:
            break
        parent, key = chance.choice(places)
        if (isinstance(parent, list) and not key < len(parent)) or (isinstance(parent, dict) and key not in parent):
            continue
        kind = chance.randrange(6)
        if kind <= 2:
            parent[key] = chance.choice(OBJECTS)
        elif kind == 3:
            parent[key] = chance.choice(VALUES)
        elif kind == 4:
            del parent[key]
        elif isinstance(parent, list):
            parent[key:key] = [parent[key]] * chance.choice((1, 100))
        else:
            parent[chance.choice(VALUES)] = parent[key]
    return json.dumps(content if chance.random() < 0.95 else chance.choice(OBJECTS)).encode()


def of_columns(seed: bytes, chance: Random) -> bytes:
    """Columns of a Parquet table: another type, value or name, one less, or no rows."""
    import pandas as pd
    from pyarrow import ArrowException

    table = pd.read_parquet(io.BytesIO(seed))
    for _ in range(chance.choice((1, 1, 2, 3))):
        name = chance.choice(list(table.columns))
        kind = chance.randrange(8)
        row = chance.randrange(max(1, len(table)))
        if kind <= 3:
            values = [chance.choice(OBJECTS)] * len(table) if chance.random() < 0.5 else list(table[name])
            if values:
                values[row % len(values)] = chance.choice([*OBJECTS, *VALUES])
            table[name] = pd.Series(values, index=table.index, dtype=object)
        elif kind == 4:
            table = table.drop(columns=name)
        elif kind == 5:
            table = table.rename(columns={name: chance.choice(VALUES)})
        elif kind == 6:
            table[name] = table[name].astype(str)
        else:
            table = pd.concat([table, table]) if chance.random() < 0.7 else table[:0]
        if not table.shape[1]:
            break
    stream = io.BytesIO()
    try:
        table.to_parquet(stream)
    except (ArrowException, ValueError, TypeError, OverflowError):  # what no Parquet file can hold
        return of_bytes(seed, chance)
    return stream.getvalue()


def of_netcdf4(seed: bytes, chance: Random) -> bytes:
    """Variables and attributes of a netCDF-4 file: other values, types and shapes, or absent."""
    import h5py
    import numpy as np

    stream = io.BytesIO(seed)
    with h5py.File(stream, "r+") as file:
        for _ in range(chance.choice((1, 1, 2, 3))):
            name = chance.choice(list(file))
            holder = chance.choice((file, file[name]))
            data = [np.nan, np.float32(1e38), -1, np.arange(3.0), np.zeros((2, 2)), "text", b"\xff", np.zeros(0), 2**63]
            value, kind = chance.choice(data), chance.randrange(5)
            if kind <= 1 and len(holder.attrs):
                attribute = chance.choice(list(holder.attrs))
                del holder.attrs[attribute]
                if kind == 0:
                    holder.attrs[attribute] = value
            elif kind == 2 and len(file) > 1:
                del file[name]
            elif kind == 3:
                kept = {key: value for key, value in file[name].attrs.items() if str(value) != "\udcff"}  # of b"\xff"
                del file[name]
                file[name] = value
                file[name].attrs.update({key: value for key, value in kept.items() if value != "\udcff"})  # of b"\xff"
            elif file[name].dtype.kind == "f" and file[name].size:
                file[name][chance.randrange(file[name].size) if file[name].ndim == 1 else ()] = chance.choice(
                    (np.nan, np.inf, -np.inf, 1e30, 0.0, -1.0)
                )
    return stream.getvalue()


def of_boxes(seed: bytes, chance: Random) -> bytes:
    """A JP2's boxes, one level deep, and the header values in its XML."""
    boxes, place = [], 0
    while place + 8 <= len(seed):
        size, _ = struct.unpack_from(">I4s", seed, place)
        stop = place + size if size >= 8 else len(seed)
        boxes.append(bytearray(seed[place:stop]))
        place = stop
    for _ in range(chance.choice((1, 1, 2))):
        number = chance.randrange(len(boxes))
        kind = chance.randrange(7)
        if kind == 0:
            boxes[number][:4] = struct.pack(">I", chance.choice([*NUMBERS, len(boxes[number]) + 1]))
        elif kind == 1:
            del boxes[number]
        elif kind == 2:
            boxes.insert(number, bytearray(chance.choice(boxes)))
        else:
            for at, box in enumerate(boxes):
                if box[4:8] == b"xml ":
                    found = list(re.finditer(rb">([^<>]*)</", box))
                    one = chance.choice(found)
                    text = bytes(box[: one.start(1)]) + chance.choice(VALUES).encode() + bytes(box[one.end(1) :])
                    boxes[at] = bytearray(struct.pack(">I", len(text)) + text[4:])
        if not boxes:
            break
    return b"".join(map(bytes, boxes))


def of_request(seed: bytes, chance: Random) -> bytes:
    """Tensors of a PredictRequest: other types, shapes and contents, absent or under another name."""
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest.FromString(seed)
    for _ in range(chance.choice((1, 1, 2, 3))):
        name = chance.choice(sorted(request.inputs) or [""])
        proto = request.inputs[name]
        kind = chance.randrange(7)
        if kind <= 1:
            size = chance.choice((-1, -(2**40), 2**20, 2**31, 2**62, *NUMBERS))
            if proto.tensor_shape.dim and kind == 0:
                chance.choice(proto.tensor_shape.dim).size = size
            else:
                proto.tensor_shape.dim.add(size=size)
        elif kind == 2:
            proto.dtype = chance.choice((0, 1, 2, 3, 7, 8, 9, 10, 14, 19, 20, 21, 23, 101, 9999))
        elif kind == 3:
            proto.tensor_content = proto.tensor_content[: chance.choice((0, 1, 3, 4, 1000))]
        elif kind == 4:
            proto.float_val.extend([chance.choice((0.0, math.nan, math.inf))] * chance.choice((1, 3, 1000)))
            proto.ClearField("tensor_content")
        elif kind == 5:
            proto.string_val.append(chance.choice(VALUES).encode("utf-8", "replace"))
        else:
            del request.inputs[name]
            request.inputs[chance.choice(VALUES)].CopyFrom(proto)
    return request.SerializeToString()


_URLS = (
    (
        "sqlite",
        "sqlite+pysqlite",
        "SQLITE",
        "postgresql",
        "postgresql+psycopg",
        "postgres",
        "mysql",
        "sqlite+x",
        "",
        "a b",
    ),
    ("://", ":", ":/", "///", "://user@", "://user:pass:word@", "://u%ZZ:%00@", "://[::1", "://[::1]"),
    ("", "127.0.0.1", "127.0.0.1:1", "127.0.0.1:99999", "127.0.0.1:-1", "127.0.0.1:port", "localhost:1", "[::1]:1"),
    (
        "",
        "/",
        "/ledger.sqlite",
        "/no/such/folder/x.sqlite",
        "/:memory:",
        "/./",
        "/%00",
        "/a\x00b",
        "/é",
        "/" + "x" * 300,
        "/#",
    ),
    ("", "?", "?a", "?timeout=x", "?mode=ro&uri=true", "?connect_timeout=x", "?x=1&x=2", "?sslmode=never", "?%"),
)


def of_url(_seed: bytes, chance: Random) -> bytes:
    """A database URL put together from parts; only this machine is ever asked."""
    return "".join(chance.choice(part) for part in _URLS).encode()


#: By the suffix of the file, where a target names no other.
STRUCTURES: dict[str, Structure] = {
    ".fits": of_cards, ".jp2": of_boxes, ".json": of_json, ".parquet": of_columns, ".csv": of_lines, ".txt": of_lines,
    ".toml": of_lines, ".url": of_url, ".request": of_request, ".config": of_lines,
}  # fmt: skip
