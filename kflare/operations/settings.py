"""`kflare.toml`: every setting of the operational forecast, checked, with errors that name the key.

Relative paths are relative to the folder of the file. Every key has a default;
`python -m kflare.forecast --print-settings` shows them all.
"""

import tomllib
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from kflare.errors import SettingError
from kflare.models.registry import first_per_event, model_names, one_per_event
from kflare.operations.forecast import RUNGS

__all__ = [
    "Data",
    "Ledger",
    "Log",
    "Marks",
    "Schedule",
    "Server",
    "Settings",
    "Site",
    "as_toml",
    "read_settings",
]


@dataclass(frozen=True)
class Schedule:
    """When forecasts are issued (UT), and how old their data may be (paper 2, sections 2.2 and 2.3)."""

    hours: tuple[float, ...] = (3.0, 9.0, 15.0, 21.0)
    data_age_first_hours: float = 1.0
    data_age_last_hours: float = 5.0
    grace_minutes: float = 30.0
    """How long after its issue time a forecast may still be begun; a later one is recorded as missed."""

    def __post_init__(self) -> None:
        if not self.hours or sorted(set(self.hours)) != list(self.hours) or not all(0 <= h < 24 for h in self.hours):
            raise SettingError(
                f"`schedule.hours` must be hours of the day from 0 to below 24, rising, got {list(self.hours)}"
            )
        if not 0 <= self.data_age_first_hours < self.data_age_last_hours:
            raise SettingError(
                "`schedule.data_age_first_hours` must be at least 0 and below `schedule.data_age_last_hours`, "
                f"got {self.data_age_first_hours} and {self.data_age_last_hours}"
            )
        if self.grace_minutes <= 0:
            raise SettingError(f"`schedule.grace_minutes` must be above 0, got {self.grace_minutes}")


@dataclass(frozen=True)
class Data:
    """Where observations come from and where they are kept."""

    folder: Path = Path("data")
    keep_days: float = 3.0
    """Observations older than this are deleted; what was measured on them stays in the ledger."""
    jsoc_url: str = "http://jsoc.stanford.edu"
    jsoc2_url: str = "http://jsoc2.stanford.edu"
    swpc_url: str = "https://services.swpc.noaa.gov/json/"
    srs_url: str = "https://services.swpc.noaa.gov/text/srs.txt"
    """NOAA's solar region summary, for NOAA numbers and so the flare history of regions."""
    quality: str = "default"
    flares: Path | None = None
    """Flare list of the past beside SWPC's last seven days: for event statistics and climatology."""
    regions_srs: Path | None = None
    """A summary of many days in a file, instead of `srs_url`: to forecast the past."""
    timeout_seconds: float = 60.0
    """Longest wait for the next byte."""
    file_minutes: float = 10.0
    """Longest time for one file, all attempts together."""
    attempts: int = 3

    def __post_init__(self) -> None:
        for name in ("keep_days", "timeout_seconds", "file_minutes", "attempts"):
            if getattr(self, name) <= 0:
                raise SettingError(f"`data.{name}` must be above 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class Server:
    """The server of the models."""

    address: str = "127.0.0.1:8500"
    timeout_seconds: float = 30.0
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    version_label: str | None = None
    """Ask for the versions with this label, such as "stable", not for the newest ones."""
    region_models: tuple[str, ...] = first_per_event(model_names("region"), "region")
    disk_models: tuple[str, ...] = first_per_event(model_names("image"), "image")
    attribution: bool = True
    """Ask for Grad-CAM of the full-disk models, for the overlay on the page."""

    def __post_init__(self) -> None:
        if self.timeout_seconds <= 0:
            raise SettingError(f"`server.timeout_seconds` must be above 0, got {self.timeout_seconds}")
        if self.version_label == "":
            raise SettingError("`server.version_label` must be a label, got an empty text: leave it out for the newest")
        one_per_event(self.region_models, "region", name="server.region_models")
        one_per_event(self.disk_models, "image", name="server.disk_models")


@dataclass(frozen=True)
class Ledger:
    """The database of forecasts: SQLite by default, PostgreSQL as postgresql+psycopg://user@host/name."""

    url: str = "sqlite:///ledger.sqlite"

    def __post_init__(self) -> None:
        if "://" not in self.url:
            raise SettingError(f"`ledger.url` must be a database URL such as sqlite:///ledger.sqlite, got {self.url!r}")


@dataclass(frozen=True)
class Marks:
    """Boundaries of the risk mark (paper 2, section 3.1), inclusive upward, and the probability of "no sunspot"."""

    danger: float = 0.8
    warning: float = 0.5
    no_sunspot: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.no_sunspot < self.warning < self.danger <= 1:
            raise SettingError(
                "`marks` must keep 0 < no_sunspot < warning < danger <= 1, got "
                f"{self.no_sunspot}, {self.warning}, {self.danger}"
            )


@dataclass(frozen=True)
class Site:
    """What is published, and where to."""

    folder: Path | None = Path("site")
    title: str = "Solar flare forecast"
    ccmc_folder: Path | None = None
    ccmc_model: str = "KFLARE"
    csv_folder: Path | None = None
    recent_days: float = 7.0

    def __post_init__(self) -> None:
        if len(self.ccmc_model) > 16:
            raise SettingError(f"`site.ccmc_model` must have at most 16 characters, got {self.ccmc_model!r}")


@dataclass(frozen=True)
class Log:
    """One JSON line per event; "-" is standard error."""

    path: str = "-"


@dataclass(frozen=True)
class Settings:
    """Everything in `kflare.toml`."""

    schedule: Schedule = field(default_factory=Schedule)
    data: Data = field(default_factory=Data)
    server: Server = field(default_factory=Server)
    ledger: Ledger = field(default_factory=Ledger)
    marks: Marks = field(default_factory=Marks)
    site: Site = field(default_factory=Site)
    log: Log = field(default_factory=Log)
    rungs: tuple[str, ...] = RUNGS
    """The rungs that a forecast may stand on; without any that holds there is no forecast but a recorded outage."""

    def __post_init__(self) -> None:
        wrong = [rung for rung in self.rungs if rung not in RUNGS]
        if wrong or not self.rungs:
            raise SettingError(f"`rungs` may hold {', '.join(RUNGS)}, got {', '.join(wrong) or 'none'}")


def read_settings(path: Path) -> Settings:
    """Read `kflare.toml`.

    Parameters
    ----------
    path : pathlib.Path
        The file; paths in it are relative to its folder.

    Raises
    ------
    SettingError
        The file cannot be read, or a key is unknown, of the wrong type or out of range: the message names it.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"`{path}` cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"`{path}` is no TOML file: {error}") from error
    try:
        settings: Settings = _build(Settings, given, "", path.parent.absolute())
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from error
    return replace(settings, ledger=Ledger(_database(settings.ledger.url, path.parent.absolute())))


def as_toml(settings: Settings) -> str:
    """The settings as the text of a `kflare.toml` that gives them again; unset keys are commented out."""
    lines = [f"rungs = {_toml(settings.rungs)}"]
    for section in fields(settings):
        value = getattr(settings, section.name)
        if is_dataclass(value):
            lines += ["", f"[{section.name}]"]
            for key in fields(value):
                setting = getattr(value, key.name)
                lines.append(f"# {key.name} =" if setting is None else f"{key.name} = {_toml(setting)}")
    return "\n".join(lines) + "\n"


def _build(kind: Any, given: object, prefix: str, folder: Path) -> Any:
    """An instance of a dataclass from a TOML table, key by key."""
    if not isinstance(given, Mapping):
        raise SettingError(f"`{prefix.rstrip('.')}` must be a table, got {given!r}")
    known = {item.name: item for item in fields(kind)}
    unknown = [key for key in given if key not in known]
    if unknown:
        raise SettingError(f"`{prefix}{unknown[0]}` is unknown: the keys here are {', '.join(known)}")
    types_of = get_type_hints(kind)
    values: dict[str, Any] = {}
    for name, item in known.items():
        if name in given:
            values[name] = _value(types_of[name], given[name], f"{prefix}{name}", folder)
        else:
            default = item.default_factory() if item.default_factory is not MISSING else item.default
            values[name] = _placed(default, folder, types_of[name])
    return kind(**values)


def _value(kind: Any, given: object, key: str, folder: Path) -> Any:
    if is_dataclass(kind):
        return _build(kind, given, f"{key}.", folder)
    if get_origin(kind) in (Union, types.UnionType):  # only "T | None", where None is the absent key
        return _value(next(part for part in get_args(kind) if part is not type(None)), given, key, folder)
    if get_origin(kind) is tuple:
        if not isinstance(given, list):
            raise SettingError(f"`{key}` must be a list, got {given!r}")
        return tuple(_value(get_args(kind)[0], each, key, folder) for each in given)
    if get_origin(kind) is Literal and given in get_args(kind):
        return given
    if kind is float and isinstance(given, (int, float)) and not isinstance(given, bool):
        return float(given)
    if kind is Path and isinstance(given, str):
        return _placed(Path(given), folder, kind)
    if kind in (int, str, bool) and type(given) is kind:
        return given
    names = {float: "a number", int: "a whole number", str: "a text", bool: "true or false", Path: "a path"}
    raise SettingError(f"`{key}` must be {names[kind]}, got {given!r}")


def _placed(value: Any, folder: Path, kind: Any) -> Any:
    """Paths relative to the settings' folder; a default section is built again so that its paths are, too."""
    if isinstance(value, Path):
        return value if value.is_absolute() else folder / value
    return _build(kind, {}, "", folder) if is_dataclass(kind) else value


def _database(url: str, folder: Path) -> str:
    """The URL of a relative SQLite file (three slashes), made absolute."""
    head = "sqlite:///"
    file = url.removeprefix(head)
    return url if file in (url, ":memory:") else f"{head}{folder / file}"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    if isinstance(value, (str, Path)):
        text = str(value).replace("\\", "\\\\").replace('"', '\\"')
        return f'"{text}"'
    return repr(value)
