"""Which image is used for a time, where the one of that very time is missing.

Yi et al. 2021, section 2: for each day the image at 00:00 UT, else the nearest one of the previous day, mostly within
two hours. Never a later one: it would know of the day that is to be forecast.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from kflare.errors import SettingError
from kflare.sun.times import in_hours, in_utc

#: How far the observation of a record may lie from its nominal time: half of HMI's 720 s. An image of 00:00:34, or
#: MDI's of 00:02:56, is the one of 00:00; one of 00:07 belongs to the next record, which for 00:00 is a later one.
NOMINAL_TOLERANCE = timedelta(seconds=360)


@dataclass(frozen=True)
class Selection:
    """The image that is used for a time."""

    index: int | None  # its place in the candidates; None if there is no image
    note: str  # "" for the image of the time itself; else what was taken instead, or why nothing


def select_for(time: datetime, candidates: Sequence[datetime], *, limit: timedelta) -> Selection:
    """Choose the image of a time: that at the time itself, else the nearest earlier one within a limit.

    All times are aware; `candidates` are the observation times of the images, in any order, without those that a
    quality policy rejects. `limit` is how much earlier than `time` the image may have been observed. The paper says
    "the previous day", and that two hours mostly do; with a full day an archive of daily images would use one image for
    two days where one is missing. An image counts as that of `time` itself up to `NOMINAL_TOLERANCE` from it.

    The selection has a note if it is an earlier image, index None and why if there is none; of one time the earliest.
    """
    if limit < timedelta(0):
        raise SettingError(f"`limit` must not be negative, got {limit}")
    wanted = in_utc(time, "time")
    times = [in_utc(candidate, "candidates") for candidate in candidates]
    if at_time := [i for i, seen in enumerate(times) if abs(seen - wanted) <= NOMINAL_TOLERANCE]:
        return Selection(min(at_time, key=lambda i: abs(times[i] - wanted)), "")
    earlier = [i for i, seen in enumerate(times) if seen < wanted]
    if not earlier:
        why = "there is no earlier one" if times else "there is none at all"
        return Selection(None, f"no image for {wanted:%FT%TZ}: {why}")
    index = max(earlier, key=lambda i: (times[i], -i))
    age = wanted - times[index]
    if age > limit:
        why = f"the nearest earlier one, of {times[index]:%FT%TZ}, is {in_hours(age)} old"
        return Selection(None, f"no image for {wanted:%FT%TZ}: {why}, at most {in_hours(limit)} are allowed")
    return Selection(index, f"image of {times[index]:%FT%TZ} for {wanted:%FT%TZ}, {in_hours(age)} earlier")
