"""The features of a cycle's regions as a few kilobytes: names and numbers once, and the values without loss.

The zlib of a line of JSON, `[names of the features, numbers of the regions]`, and of the values, float64 and
little-endian, feature by feature: their first bytes, then their second ones and so on. The last ones alone are noise.
"""

import json
import zlib

import numpy as np
import pandas as pd

from kflare.errors import DataError


def pack_features(features: pd.DataFrame) -> bytes:
    """Pack a table of regions (index: their numbers) and features (float64, NaN = not measured)."""
    values = np.ascontiguousarray(features.to_numpy(np.float64).T, "<f8")
    planes = np.frombuffer(values.tobytes(), np.uint8).reshape(-1, 8).T
    head = json.dumps([list(features.columns), list(map(int, features.index))])
    return zlib.compress(head.encode() + b"\n" + planes.tobytes(), 9)


def unpack_features(packed: bytes) -> pd.DataFrame:
    """The table again; DataError if it is none."""
    try:
        head, _, planes = zlib.decompress(packed).partition(b"\n")
        names, numbers = json.loads(head)
        values = np.frombuffer(np.frombuffer(planes, np.uint8).reshape(8, -1).T.tobytes(), "<f8")
        return pd.DataFrame(values.reshape(len(names), len(numbers)).T, numbers, names)
    except (zlib.error, ValueError, TypeError) as error:
        raise DataError(f"features of the ledger cannot be read: {error}; run --verify-ledger") from error
