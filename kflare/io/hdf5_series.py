"""Series of numbers and their attributes out of an HDF5 file, read in a process of its own.

The HDF5 library trusts what it reads: single damaged bytes make it loop for ever, ask for any amount of memory or
crash, and with it the program that called it. So this file is also a script: :func:`read_hdf5_series` starts it with a
limit on time and memory and takes its result only if it ends well. That costs a fifth of a second.
"""

import io
import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

MOST_SAMPLES: Final = 10_000_000
_MOST_CHUNK_BYTES: Final = 1 << 26
_MOST_TEXTS: Final = 1_000_000
_LONGEST_TEXT: Final = 40
_MOST_ATTRIBUTE_BYTES: Final = 1 << 16
_MOST_MEMORY: Final = 2 << 30
#: Seconds for a small file; larger ones get more.
TIME_LIMIT: Final = 8.0
_BYTES_PER_SECOND: Final = 1 << 22


@dataclass(frozen=True)
class Series:
    """One data set of a file: `values` as stored, integer, float or text, shape (N,).

    Attributes are text, numbers and lists of numbers; those of other kinds are left out.
    """

    values: npt.NDArray[Any]
    attributes: Mapping[str, Any]


def read_hdf5_series(
    path: Path, names: Sequence[str], attributes: Sequence[str]
) -> tuple[dict[str, Series], dict[str, Any]]:
    """Read those of the named data sets in the root group that a file has, and the attributes of the file.

    `attributes` names those wanted, of the data sets and of the file. Links to elsewhere are not followed.
    DataError if the file is damaged, a data set is no series of at most 10 million numbers, or reading it takes more
    than its share of time (8 s and 1 s per 4 MiB) or memory (2 GiB).
    """
    from kflare.errors import DataError  # the script does without kflare

    wrong = ""
    request = json.dumps([str(path.resolve()), list(names), list(attributes)])
    limit = TIME_LIMIT + path.stat().st_size / _BYTES_PER_SECOND
    # One thread: the numerical libraries would otherwise reserve memory for each.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", __file__, request]
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter, this file; the path travels as data
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit, env=environment, check=False
        )
        if done.returncode != 0:
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
            wrong = lines[-1][:200] if lines else f"the HDF5 library fails on it ({done.returncode})"
    except subprocess.TimeoutExpired:
        wrong = f"reading it does not end within {limit:.0f} s"
    if wrong:
        raise DataError(f"`{path}` is a damaged or truncated netCDF file: {wrong}; download it again")
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as arrays:
        content = json.loads(bytes(arrays["content"]))
        series = {name: Series(arrays[f"values {name}"], content["series"][name]) for name in content["series"]}
    return series, content["file"]


def _read(path: str, names: Sequence[str], wanted: Sequence[str]) -> bytes:
    import h5py

    content: dict[str, Any] = {"series": {}}
    arrays: dict[str, Any] = {}
    with h5py.File(path, "r") as file:
        content["file"] = _attributes(file, wanted)
        for name in names:
            # A soft or external link, or external storage, may name any file of this machine.
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                continue
            found = file[name]
            if not isinstance(found, h5py.Dataset) or found.is_virtual or found.external:
                continue
            text = h5py.check_string_dtype(found.dtype) is not None
            most = _MOST_TEXTS if text else MOST_SAMPLES
            if found.ndim != 1 or found.size > most or not (text or found.dtype.kind in "iuf"):
                seen = f"{found.dtype} {found.shape}"
                raise ValueError(f"`{name}` must be a series of at most {most} numbers or texts, is {seen}")
            if found.chunks and math.prod(found.chunks) * found.dtype.itemsize > _MOST_CHUNK_BYTES:
                raise ValueError(f"`{name}` is stored in chunks of {found.chunks}")
            values = found.asstr(errors="replace")[()] if text else found[()].astype(found.dtype.newbyteorder("="))
            arrays[f"values {name}"] = np.array([str(one)[:_LONGEST_TEXT] for one in values]) if text else values
            content["series"][name] = _attributes(found, wanted)
    stream = io.BytesIO()
    np.savez(stream, content=np.frombuffer(json.dumps(content).encode(), dtype=np.uint8), **arrays)
    return stream.getvalue()


def _attributes(owner: Any, wanted: Sequence[str]) -> dict[str, Any]:
    found = {}
    for name in wanted:
        if name not in owner.attrs:
            continue
        kind = owner.attrs.get_id(name)
        if kind.dtype.kind not in "iufSUO" or math.prod(kind.shape) * kind.dtype.itemsize > _MOST_ATTRIBUTE_BYTES:
            continue
        value = np.asarray(owner.attrs[name])
        if value.dtype.kind == "S":
            value = np.char.decode(value, "utf-8", "replace")
        if value.dtype.kind in "iufU" or (value.size == 1 and isinstance(value.ravel()[0], str)):
            found[name] = value.ravel().tolist() if value.size != 1 else value.ravel()[0]
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in found.items()}


def _main(request: str) -> int:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    # A crash is expected here and must not leave an image of the memory behind.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        payload = _read(*json.loads(request))
    # h5py raises OSError, KeyError, RuntimeError, TypeError, ValueError and more, as the damage has it.
    except Exception as error:  # noqa: BLE001
        sys.stderr.write((str(error).splitlines() or [""])[0] or type(error).__name__)
        return 1
    sys.stdout.buffer.write(payload)
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))
