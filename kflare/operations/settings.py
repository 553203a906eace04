"""`kflare.toml`: every setting of the operational forecast, checked, with errors that name the key.

Relative paths are relative to the folder of the file. Every key has a default; what it means and its unit stand in
`settings.csv`, and `python -m kflare.forecast --print-settings` shows them all.
"""

import csv
import json
import tomllib
from dataclasses import field, fields, is_dataclass
from datetime import datetime
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, FiniteFloat, Strict, TypeAdapter, ValidationError, ValidationInfo
from pydantic.dataclasses import dataclass

import kflare.serving
from kflare.errors import DataError, SettingError
from kflare.models.registry import first_per_event, model_names, one_per_event
from kflare.observations.quality import POLICIES
from kflare.operations.forecast import MARKS, RUNGS, MarkBounds, Rung, cycle_name
from kflare.operations.records import CHECKED, CheckedRecord, first_fault

_NEXT: Final = 0.25  # hours from one issue time to the next, at least: they are named to the minute


def _from_folder(path: Path, info: ValidationInfo) -> Path:
    if "\0" in str(path) or not path.parts:  # an empty one would be the folder of the settings, cleared and replaced
        raise ValueError("a path, neither empty nor with a zero byte")
    return path if info.context is None else info.context / path


def _database(url: str, info: ValidationInfo) -> str:
    if "://" not in url:
        raise ValueError("a database URL such as sqlite:///ledger.sqlite")
    head = "sqlite:///"
    file = url.removeprefix(head)
    return url if info.context is None or file in (url, ":memory:") else f"{head}{info.context / file}"


def _log(path: str, info: ValidationInfo) -> str:
    return path if info.context is None or path == "-" else str(info.context / path)


def _policy(name: str) -> str:
    if name not in POLICIES:
        raise ValueError(f"one of {', '.join(POLICIES)}")
    return name


_Place = Annotated[Path, AfterValidator(_from_folder)]
# More than anybody means: what is above is a slip of the keys, and would break a cycle at work.
_Days = Annotated[FiniteFloat, Field(gt=0, le=36_525)]
_Hours = Annotated[FiniteFloat, Field(ge=0, le=168)]
_Minutes = Annotated[FiniteFloat, Field(gt=0, le=1440)]
_Seconds = Annotated[FiniteFloat, Field(gt=0, le=3600)]
_Text = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]+$")]
_Url = Annotated[str, Field(pattern=r"^https?://\S+$")]
_Names = Annotated[tuple[str, ...], Strict(False)]


@dataclass(frozen=True, config=CHECKED)
class _Section(CheckedRecord):
    """A table of the file, named as the class begins."""

    @classmethod
    def _refusal(cls, error: ValidationError) -> SettingError:
        table = "" if cls is ForecastSettings else f"{cls.__name__.removesuffix('Settings').lower()}."
        secret = cls is LedgerSettings  # a URL may hold a password
        return SettingError(first_fault(error, list(cls.__dataclass_fields__), prefix=table, hide=secret))


@dataclass(frozen=True, config=CHECKED)
class ScheduleSettings(_Section):
    """When forecasts are issued (UT), and how old their data may be (paper 2, sections 2.2 and 2.3)."""

    hours: Annotated[tuple[FiniteFloat, ...], Strict(False)] = (3.0, 9.0, 15.0, 21.0)
    data_age_first_hours: _Hours = 1.0
    data_age_last_hours: _Hours = 5.0
    grace_minutes: _Minutes = 30.0

    def __post_init__(self) -> None:
        if not self.hours or sorted(set(self.hours)) != list(self.hours) or not all(0 <= h < 24 for h in self.hours):
            raise SettingError(f"`schedule.hours` must be hours of the day, 0 to < 24, rising, got {list(self.hours)}")
        if any(later - hour < _NEXT for hour, later in pairwise((*self.hours, self.hours[0] + 24))):
            raise SettingError(f"`schedule.hours` must be at least {_NEXT} h apart, got {list(self.hours)}")
        if self.data_age_first_hours >= self.data_age_last_hours:
            given = f"got {self.data_age_first_hours} and {self.data_age_last_hours}"
            raise SettingError(f"`schedule.data_age_first_hours` must be below `schedule.data_age_last_hours`, {given}")


@dataclass(frozen=True, config=CHECKED)
class DataSettings(_Section):
    """Where observations come from and where they are kept."""

    folder: _Place = Path("data")
    keep_days: _Days = 3.0
    jsoc_url: _Url = "http://jsoc.stanford.edu"
    jsoc2_url: _Url = "http://jsoc2.stanford.edu"
    swpc_url: _Url = "https://services.swpc.noaa.gov/json/"
    srs_url: _Url = "https://services.swpc.noaa.gov/text/srs.txt"
    quality: Annotated[str, AfterValidator(_policy)] = "default"
    flares: _Place | None = None
    regions_srs: _Place | None = None
    swpc_texts: _Place | None = None
    timeout_seconds: _Seconds = 60.0
    file_minutes: _Minutes = 10.0
    attempts: Annotated[int, Field(gt=0, le=100)] = 3

    def issue_folder(self, issue: datetime) -> Path:
        """Where the observations and pictures of an issue time are kept."""
        return self.folder / cycle_name(issue)


@dataclass(frozen=True, config=CHECKED)
class ServerSettings(_Section):
    """The server of the models."""

    address: _Text = "127.0.0.1:8500"
    timeout_seconds: _Seconds = 30.0
    ca: _Place | None = None
    cert: _Place | None = None
    key: _Place | None = None
    version_label: str | None = None
    region_models: _Names = first_per_event(model_names("region"), "region")
    disk_models: _Names = first_per_event(model_names("image"), "image")
    attribution: bool = True

    def __post_init__(self) -> None:
        if self.version_label == "":
            raise SettingError("`server.version_label` must be a label, got an empty text: leave it out for the newest")
        one_per_event(self.region_models, "region", name="server.region_models")
        one_per_event(self.disk_models, "image", name="server.disk_models")

    def client(self, **options: int) -> "kflare.serving.Client":
        """A client of this server."""
        client, seconds = kflare.serving.Client, self.timeout_seconds
        return client(self.address, timeout=seconds, ca=self.ca, cert=self.cert, key=self.key, **options)


@dataclass(frozen=True, config=CHECKED)
class LedgerSettings(_Section):
    """The database of forecasts: SQLite by default, PostgreSQL as postgresql+psycopg://user@host/name."""

    url: Annotated[str, AfterValidator(_database)] = "sqlite:///ledger.sqlite"


@dataclass(frozen=True, config=CHECKED)
class MarksSettings(_Section):
    """Boundaries of the risk mark, inclusive upward, and the probability of "no sunspot"."""

    by: Literal["calibrated", "score"] = "calibrated"
    calibrated_danger: FiniteFloat = 0.5
    calibrated_warning: FiniteFloat = 0.25
    danger: FiniteFloat = 0.8
    warning: FiniteFloat = 0.5
    no_sunspot: FiniteFloat = 0.01

    def __post_init__(self) -> None:
        least = min(below[MARKS[1]] for below in self.bounds.marks.values())
        if not 0 < self.no_sunspot < least:
            raise SettingError(f"`marks` must keep 0 < no_sunspot < every warning, got {self.no_sunspot} and {least}")

    @property
    def bounds(self) -> MarkBounds:
        """As a forecast records them."""
        office = (self.calibrated_danger, self.calibrated_warning) if self.by == "calibrated" else ()
        return MarkBounds(self.danger, self.warning, *office)


@dataclass(frozen=True, config=CHECKED)
class SiteSettings(_Section):
    """What is published, and where to."""

    folder: _Place | None = Path("site")
    title: str = "Solar flare forecast"
    ccmc_folder: _Place | None = None
    ccmc_model: Annotated[str, Field(max_length=16, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = "KFLARE"
    csv_folder: _Place | None = None
    recent_days: _Days = 7.0
    models: _Place | None = Path("savedmodels")


@dataclass(frozen=True, config=CHECKED)
class LogSettings(_Section):
    """One JSON line per event; "-" is standard error."""

    path: Annotated[_Text, AfterValidator(_log)] = "-"


@dataclass(frozen=True, config=CHECKED)
class ForecastSettings(_Section):
    """Everything in `kflare.toml`."""

    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    data: DataSettings = field(default_factory=DataSettings)
    server: ServerSettings = field(default_factory=ServerSettings)
    ledger: LedgerSettings = field(default_factory=LedgerSettings)
    marks: MarksSettings = field(default_factory=MarksSettings)
    site: SiteSettings = field(default_factory=SiteSettings)
    log: LogSettings = field(default_factory=LogSettings)
    rungs: Annotated[tuple[Rung, ...], Strict(False), Field(min_length=1)] = RUNGS


def read_settings(path: str | Path) -> ForecastSettings:
    """Read `kflare.toml`, whose relative paths start from its folder; `SettingError` names a key that is wrong."""
    path = Path(path)
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        begin = f": begin with `kflare forecast --print-settings > {path}`, or try `kflare demo`"
        why = f"{error.strerror}{begin * isinstance(error, FileNotFoundError)}"
        raise SettingError(f"`{path}` cannot be read: {why}") from error
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits, lists in lists in lists
        raise SettingError(f"`{path}` is no TOML file: {error}") from error
    # Defaults are read like what is given, so that their paths are relative to the file too.
    defaults = ForecastSettings().as_json()
    read = defaults | {
        name: defaults[name] | one if name != "rungs" and name in defaults and isinstance(one, dict) else one
        for name, one in given.items()
    }
    text = json.dumps(read, default=lambda time: {"time": str(time)})  # no setting is one
    try:
        return TypeAdapter(ForecastSettings).validate_json(text, context=path.parent.absolute())
    except (SettingError, DataError) as error:
        raise SettingError(f"{path}: {error}") from error


def told_of_settings() -> dict[str, tuple[str, str]]:
    """Unit ("" where there is none) and meaning of each key, by its name as errors give it: `schedule.hours`."""
    text = files("kflare.operations").joinpath("settings.csv").read_text("utf-8")
    return {name: (unit, meaning) for name, unit, meaning in csv.reader(text.splitlines()[1:])}


def as_toml(settings: ForecastSettings) -> str:
    """The text of a `kflare.toml` that gives these settings again, with comments; unset keys are commented out."""
    told = told_of_settings()

    def entry(name: str, key: str, setting: object) -> list[str]:
        unit, meaning = told[name]
        comment = wrap(f"{meaning} ({unit})." if unit else f"{meaning}.", 110)
        written = json.dumps(setting, default=str, ensure_ascii=False)  # texts, numbers and lists are alike in both
        return [*(f"# {line}" for line in comment), f"# {key} =" if setting is None else f"{key} = {written}"]

    lines = entry("rungs", "rungs", settings.rungs)
    for section in fields(settings):
        value = getattr(settings, section.name)
        if is_dataclass(value):
            lines += ["", f"# {(type(value).__doc__ or '').splitlines()[0]}", f"[{section.name}]"]
            for key in fields(value):
                lines += entry(f"{section.name}.{key.name}", key.name, getattr(value, key.name))
    return "\n".join(lines) + "\n"
