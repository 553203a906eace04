"""What the QUALITY keyword says, and which images are good enough to forecast from.

QUALITY is a mask of 32 bits without sign. JSOC writes it as a signed integer in FITS (0x80000000, "there is no image",
reads as −2147483648) and as a hexadecimal string in its answers; :func:`parse_quality` brings all forms to 0 .. 2³²−1.
Neither `QUALITY < 65536` on the signed number (lets "no image" through) nor `QUALITY == 0` (throws away every
near-real-time image, which carry 0x400 and often 0x00011c00) is a test of quality.

Which bit does what is a setting, :class:`QualityPolicy`; docs/formats.md has those of HMI. `default` and `strict` also
reject an image of which more than 1 % of the disk is missing (a large active region covers less), of another instrument
than HMI and MDI, or of the future.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kflare.errors import DataError, SettingError
from kflare.io.stored_table import stored_rows


def _bits(instrument: str) -> dict[int, str]:
    rows = stored_rows("kflare.observations", "quality_bits.csv")
    return {int(row["bit"], 16): row["meaning"] for row in rows if row["instrument"] == instrument}


#: Bits of QUALITY of HMI observables (JSOC QUALITY.txt of 2013-05-24; HMI_observables.c) and of MDI (SOI, "MDI Standard
#: Quality Bit Definitions", 2003-02-24).
HMI_QUALITY, MDI_QUALITY = _bits("HMI"), _bits("MDI")
# Those of AIA level 1 that refuse an image (SDO User Guide, section 7.7.6, Table 2). Bit 30, "quick look", is set in
# all near real time; missing flat field, orbit, pointing or below 5 % of the pixels is noted.
_AIA_REFUSED = _bits("AIA")
_ALL = 0xFFFFFFFF
_NOCOSMICRAY = 0x400
_NOTPRIME60 = 0x200
# ECLIPSE, ECLIPSE_STOKES, POORQUALITY.
_HMI_REJECTED = 0xFFFE0000 | 0x320
# MISSING10 to MISSING90, TOBSMISSING, PROCESSING, POINTING (the roll may be wrong); MISSING1 is left to the
# count of missing pixels on the disk. From 2^18 on JSOC's SMARP series leaves MDI out too.
_MDI_REJECTED = 0xFFFC0000 | 0x1F2


@dataclass(frozen=True)
class QualityPolicy:
    """Which images are rejected, which are read with a note, and which without; see the module for those with a name.

    Every bit that neither rejects nor is accepted degrades: the image is read with a note. A rejected image raises
    `DataError`, or where the policy does not refuse it is read with a note that begins "rejected".
    """

    name: str  # for messages
    hmi_reject: int = _HMI_REJECTED  # bits of QUALITY that reject an image
    hmi_accept: int = _NOCOSMICRAY  # bits without a note
    mdi_reject: int = _MDI_REJECTED
    mdi_accept: int = _NOTPRIME60
    max_missing: float = 0.01  # greatest part of the disk, 0 to 1, that may be missing
    noted_missing: float = 0.001  # part of the disk from which on a missing part is noted
    refuses: bool = True  # a rejected image

    def __post_init__(self) -> None:
        for name in ("hmi_reject", "hmi_accept", "mdi_reject", "mdi_accept"):
            if not 0 <= getattr(self, name) <= _ALL:
                raise SettingError(f"`{name}` must be a mask of 32 bits, got {getattr(self, name):#x}")
        if not 0 <= self.noted_missing <= self.max_missing <= 1:
            rule = "`noted_missing` and `max_missing` must be parts of the disk in this order, 0 to 1"
            raise SettingError(f"{rule}, got {self.noted_missing} and {self.max_missing}")


_STRICT = QualityPolicy("strict", hmi_reject=_ALL & ~_NOCOSMICRAY, mdi_reject=_ALL & ~_NOTPRIME60, max_missing=0.001)
POLICIES = {policy.name: policy for policy in (QualityPolicy("default"), _STRICT, QualityPolicy("any", refuses=False))}
"""The policies with a name."""

# Clocks differ a little; a header that is ahead by more than this is wrong.
_AHEAD = timedelta(hours=1)


def policy_named(policy: str | QualityPolicy) -> QualityPolicy:
    """The policy of a name ("default", "strict", "any"), or the policy itself; SettingError for any other name."""
    if isinstance(policy, QualityPolicy):
        return policy
    if policy not in POLICIES:
        raise SettingError(f"`policy` must be one of {', '.join(POLICIES)}, got {policy!r}")
    return POLICIES[policy]


def parse_quality(value: object, *, source: str = "header") -> int | None:
    """QUALITY as a mask without sign, 0 to 2³² − 1, from any form in which it is given; else `DataError`.

    That is an integer (signed or not), a whole float, or text: decimal, or hexadecimal with 0x. None where there is no
    value (None, empty text, "nan", "missing").
    """
    mask: int | None = None
    if value is None or (isinstance(value, float) and value != value):  # noqa: PLR0124  NaN is not itself
        return None
    if isinstance(value, str):
        text = value.strip().lower()
        if text in {"", "nan", "missing"}:
            return None
        if re.fullmatch(r"0x[0-9a-f]{1,16}", text):
            mask = int(text, 16)
        elif re.fullmatch(r"[+-]?\d{1,20}(\.0*)?", text):
            mask = int(text.partition(".")[0])
    elif hasattr(value, "__index__") and not isinstance(value, bool):
        mask = value.__index__()
    elif isinstance(value, float) and value.is_integer():
        mask = int(value)
    if mask is None or not -(1 << 31) <= mask <= _ALL:
        fault = f"`{source}`: `QUALITY` must be an integer of 32 bits or its hexadecimal form, got {value!r}"
        raise DataError(f"{fault}; give another record")
    return mask & _ALL


def described(quality: int, bits: int, instrument: str) -> str:
    """The bits of QUALITY in words: `0x00010400: LOWINTERPNUM (fewer filtergrams interpolated than usual)`."""
    known = MDI_QUALITY if instrument == "MDI" else HMI_QUALITY
    words = [text for bit, text in known.items() if bit & bits]
    if unnamed := bits & ~sum(known):
        words.append(f"bits {unnamed:#x} without a name")
    return f"`QUALITY` 0x{quality:08x}: {', '.join(words)}"


def judge(
    source: str, *, policy: QualityPolicy, time: datetime, instrument: str, quality: int | None = None,
    missing: float = 0.0, named: str = "", now: datetime | None = None, doubts: Sequence[str] = ()
) -> str:  # fmt: skip
    """Whether an image is good enough: "", "degraded: ..." or, if the policy refuses nothing, "rejected: ...".

    `missing` is the part of the disk that is missing, 0 to 1, within 0.98 of its radius, as the limb is often cut.
    `named` is the instrument as the header has it, "" where it names none, and `doubts` degrade. `DataError` if the
    policy rejects the image, with the reason.
    """
    if time.utcoffset() is None:
        raise DataError(f"`{source}`: `time` must carry a time zone (UTC), got {time!r}")
    rejected: list[str] = []
    degraded = list(doubts)
    if named and instrument == "unknown":
        rejected.append(f"`INSTRUME` must be HMI or MDI, got {named!r}")
    now = now or datetime.now(UTC)
    if time > now + _AHEAD:
        rejected.append(f"its time {time:%Y-%m-%dT%H:%M:%SZ} lies in the future (it is {now:%Y-%m-%dT%H:%M:%SZ})")
    if quality:
        bad, fine = (
            (policy.mdi_reject, policy.mdi_accept) if instrument == "MDI" else (policy.hmi_reject, policy.hmi_accept)
        )
        if quality & bad:
            rejected.append(described(quality, quality & bad, instrument))
        if noted := quality & ~bad & ~fine:
            degraded.append(described(quality, noted, instrument))
    if missing > policy.noted_missing:
        seen = f"{100 * missing:.2g} % of the disk is missing"
        if missing > policy.max_missing:
            rejected.append(f"{seen}, at most {100 * policy.max_missing:g} % may be")
        else:
            degraded.append(seen)
    if rejected and policy.refuses:
        fault = f"`{source}` is rejected by the quality policy `{policy.name}`: {'; '.join(rejected)}"
        raise DataError(f"{fault}; take another record (the policy `any` reads it: `data.quality` of kflare.forecast)")
    notes = [f"rejected: {'; '.join(rejected)}"] if rejected else []
    if degraded:
        notes.append(f"degraded: {'; '.join(degraded)}")
    return "; ".join(notes)


_AIA_QUICK_LOOK = 1 << 30


def judge_aia(source: str, *, quality: int | None) -> str:
    """What QUALITY of an AIA level 1 image says: "" or "degraded: ..."; `DataError` if it is not fit for use."""
    mask = quality or 0
    bad = [words for bit, words in _AIA_REFUSED.items() if mask & bit]
    if bad:
        raise DataError(f"`{source}` is refused: `QUALITY` 0x{mask:08x}: {', '.join(bad)}")
    return f"degraded: `QUALITY` 0x{mask:08x}" if mask & ~_AIA_QUICK_LOOK else ""
