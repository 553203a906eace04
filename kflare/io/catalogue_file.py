"""JSON of unknown origin as records, and how much of it a catalogue can be at most.

A list of all flares since 1975 has 10 MB, a week of X-ray flux 4 MB.
"""

import json
from typing import Final

from kflare.errors import DataError

#: Largest text catalogue (CSV, event text, JSON) that is parsed, 32 MiB. Parsed JSON can take 25 times its size.
MAX_TEXT_BYTES: Final = 1 << 25
#: Most records of one catalogue.
MAX_RECORDS: Final = 1_000_000

_UTF8_BOM: Final = b"\xef\xbb\xbf"


def is_json(payload: bytes) -> bool:
    """Whether the first character that is no blank opens a JSON list or object."""
    return payload.removeprefix(_UTF8_BOM).lstrip()[:1] in {b"[", b"{"}


def json_records(payload: bytes, source: str) -> tuple[list[dict[str, object]], int]:
    """Records of a JSON list of objects, or of the `result` of a JSON object (as the HEK answers).

    Also how many entries were no objects and are left out. `source` names the file in messages. DataError if it is no
    JSON in UTF-8, no list, or longer than `MAX_RECORDS`.
    """
    try:
        parsed = json.loads(payload.removeprefix(_UTF8_BOM))
    except (ValueError, RecursionError) as error:  # bad JSON, bad UTF-8, an endless number, endless nesting
        reason = (str(error).splitlines() or [""])[0][:200]
        raise DataError(f"`{source}` is damaged JSON: {reason}; download it again") from error
    entries = parsed.get("result") if isinstance(parsed, dict) else parsed
    if not isinstance(entries, list):
        seen = "none"
        if isinstance(parsed, dict):
            seen = f"an object with the keys {', '.join(' '.join(key.split())[:40] for key in list(parsed)[:8])}"
        raise DataError(f"`{source}` must be a JSON list of records (or hold one under `result`), got {seen}")
    if len(entries) > MAX_RECORDS:
        raise DataError(f"`{source}` must have at most {MAX_RECORDS} records, has {len(entries)}; split it")
    records = [entry for entry in entries if isinstance(entry, dict)]
    return records, len(entries) - len(records)
