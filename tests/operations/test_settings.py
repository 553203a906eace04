"""`kflare.toml`: defaults, round trip, and errors that name the key."""

from dataclasses import fields
from pathlib import Path

import pytest

from kflare.errors import SettingError
from kflare.operations.forecast import RUNGS
from kflare.operations.settings import ForecastSettings, as_toml, read_settings, told_of_settings

SETTINGS = ForecastSettings()


def write(folder: Path, text: str) -> Path:
    path = folder / "kflare.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_file_gives_the_papers_schedule(tmp_path: Path) -> None:
    settings = read_settings(write(tmp_path, ""))
    assert settings.schedule.hours == (3, 9, 15, 21)
    assert (settings.schedule.data_age_first_hours, settings.schedule.data_age_last_hours) == (1, 5)
    assert (settings.marks.danger, settings.marks.warning, settings.marks.no_sunspot) == (0.8, 0.5, 0.01)
    assert settings.rungs == RUNGS
    assert settings.site.folder == tmp_path / "site"
    assert settings.ledger.url == f"sqlite:///{tmp_path / 'ledger.sqlite'}"


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    settings = read_settings(
        write(tmp_path, '[data]\nflares = "f.csv"\n[site]\nfolder = "/srv/www"\n[ledger]\nurl = "sqlite:///l.db"\n'
              '[log]\npath = "l/events.log"\n')
    )  # fmt: skip
    assert settings.log.path == str(tmp_path / "l" / "events.log")
    assert settings.data.flares == tmp_path / "f.csv"
    assert settings.site.folder == Path("/srv/www")
    assert settings.ledger.url == f"sqlite:///{tmp_path / 'l.db'}"


def test_other_databases_are_left_alone(tmp_path: Path) -> None:
    for url in ("postgresql+psycopg://kflare@db/ledger", "sqlite:////var/ledger.db"):
        assert read_settings(write(tmp_path, f'[ledger]\nurl = "{url}"\n')).ledger.url == url


def test_what_is_printed_reads_back(tmp_path: Path) -> None:
    first = read_settings(write(tmp_path, '[site]\ntitle = "A \\"quoted\\" title"\n[schedule]\nhours = [0, 12]\n'))
    assert read_settings(write(tmp_path, as_toml(first))) == first
    assert first.site.title == 'A "quoted" title'


def test_every_key_is_explained_with_its_unit() -> None:
    told = told_of_settings()
    named = [section.name for section in fields(ForecastSettings)]
    keys = ["rungs", *(f"{one}.{key}" for one in named if one != "rungs" for key in vars(getattr(SETTINGS, one)))]
    assert sorted(told) == sorted(keys)
    assert all(meaning and not meaning.endswith(".") for _, meaning in told.values())
    # The name of a key ends in its unit where it has one of time.
    for name, (unit, _) in told.items():
        last = name.rpartition("_")[2]
        assert unit == last or last not in {"hours", "minutes", "seconds", "days"}, name


def test_what_is_printed_says_what_each_key_is() -> None:
    lines = as_toml(SETTINGS).splitlines()
    assert lines[lines.index("timeout_seconds = 60.0") - 1] == "# Longest wait for the next byte (seconds)."
    assert lines[lines.index("# flares =") - 1].startswith("# ")
    assert lines[lines.index("[ledger]") - 1].startswith("# The database of forecasts")
    assert max(map(len, lines)) < 120


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speed = 3", "`speed` is unknown"),
        ("[server]\nadress = 'x'", "`server.adress` is unknown: the keys here are address"),
        ("[schedule]\nhours = 6", "`schedule.hours` must be a list, got 6"),
        ("[schedule]\nhours = ['six']", "`schedule.hours` must be a number, got 'six'"),
        ("[schedule]\nhours = [9, 3]", "`schedule.hours` must be hours of the day"),
        ("[schedule]\nhours = [25]", "`schedule.hours` must be hours of the day"),
        ("[schedule]\ndata_age_last_hours = 0.5", "`schedule.data_age_first_hours` must be"),
        ("[data]\nkeep_days = true", "`data.keep_days` must be a number, got True"),
        ("[data]\nattempts = 1.5", "`data.attempts` must be a whole number, got 1.5"),
        ("[data]\nkeep_days = inf", "`data.keep_days` must be a finite number, got inf"),
        ("[data]\nkeep_days = nan", "`data.keep_days` must be a finite number, got nan"),
        ("[data]\nkeep_days = -1", "`data.keep_days` must be above 0, got -1"),
        ("[data]\nkeep_days = 1e30", "`data.keep_days` must be at most 36525, got 1e+30"),
        ("[data]\nkeep_days = 1e400", "`data.keep_days` must be a finite number, got inf"),
        ("[data]\nattempts = 1000000000000000000000", "`data.attempts` must be at most 100"),
        ("[data]\nattempts = -3", "`data.attempts` must be above 0, got -3"),
        ("[data]\ntimeout_seconds = 1e9", "`data.timeout_seconds` must be at most 3600"),
        ("[data]\nfile_minutes = 0", "`data.file_minutes` must be above 0"),
        ("[data]\nquality = 'none'", "`data.quality` must be one of default, strict, any, got 'none'"),
        ("[data]\njsoc_url = 'jsoc.stanford.edu'", "`data.jsoc_url` must be a text of the form ^https?://"),
        ("[data]\nswpc_url = 'file:///etc'", "`data.swpc_url` must be a text of the form ^https?://"),
        ('[data]\nfolder = "a\\u0000b"', "`data.folder` must be a path, neither empty nor with a zero byte"),
        ("[data]\nfolder = ''", "`data.folder` must be a path, neither empty"),
        ("[site]\nfolder = '.'", "`site.folder` must be a path, neither empty"),
        ("[schedule]\ngrace_minutes = -30", "`schedule.grace_minutes` must be above 0"),
        ("[schedule]\ngrace_minutes = 1e6", "`schedule.grace_minutes` must be at most 1440"),
        ("[schedule]\ndata_age_last_hours = 1e5", "`schedule.data_age_last_hours` must be at most 168"),
        ("[schedule]\ndata_age_first_hours = -1", "`schedule.data_age_first_hours` must be at least 0"),
        ("[schedule]\nhours = [3, 3.001]", "`schedule.hours` must be at least 0.25 h apart"),
        ("[schedule]\nhours = [0, 23.9]", "`schedule.hours` must be at least 0.25 h apart"),
        ("[schedule]\nhours = [nan]", "`schedule.hours` must be a finite number, got nan"),
        ("[schedule]\nhours = []", "`schedule.hours` must be hours of the day"),
        ("[server]\ntimeout_seconds = inf", "`server.timeout_seconds` must be a finite number"),
        ("[server]\naddress = ''", "`server.address` must be a text of at least 1"),
        ("[marks]\ndanger = nan", "`marks.danger` must be a finite number"),
        ("[marks]\ncalibrated_danger = 0.2", "`marks` must keep 0 < calibrated_warning <= calibrated_danger"),
        ("[marks]\nby = 'luck'", "`marks.by` must be"),
        ("[marks]\ncalibrated_danger = 0.5\ncalibrated_warning = 0.005", "`marks` must keep 0 < no_sunspot < every"),
        ("[marks]\nno_sunspot = -0.1", "`marks` must keep 0 < no_sunspot"),
        ("[site]\nrecent_days = -7", "`site.recent_days` must be above 0"),
        ("[site]\nrecent_days = 1e9", "`site.recent_days` must be at most 36525"),
        ("[site]\nccmc_model = 'two words'", "`site.ccmc_model` must be a text of the form ^[A-Za-z0-9]"),
        *(
            (f"[site]\nccmc_model = '{name}'", "`site.ccmc_model` must be a text of")
            for name in ("", "a<b", "ÄR", "-a")
        ),
        ('[site]\nccmc_model = "line\\nbreak"', "`site.ccmc_model` must be a text of the form"),
        ("[log]\npath = ''", "`log.path` must be a text of at least 1"),
        ("[ledger]\nurl = 'postgresql:/u:secret@h'", "a database URL such as sqlite:///ledger.sqlite, which it is not"),
        ("[ledger]\nurl = ['postgresql://u:secret@h']", "`ledger.url` must be a text, which it is not"),
        ("[site]\ntitle = 1979-05-27", "`site.title` must be a text, got {'time': '1979-05-27'}"),
        ("[data]\nattempts = 0", "`data.attempts` must be above 0"),
        ("[server]\nregion_models = ['cnn-m']", "`server.region_models` may hold defn-c and defn-m, got cnn-m"),
        ("[server]\nversion_label = ''", "`server.version_label` must be a label"),
        ("[server]\nattribution = 'yes'", "`server.attribution` must be true or false"),
        ("[marks]\nwarning = 0.9", "`marks` must keep"),
        ("[marks]\nno_sunspot = 0.0", "`marks` must keep 0 < no_sunspot"),
        ("[ledger]\nurl = 'ledger.db'", "`ledger.url` must be a database URL"),
        ("rungs = ['crystal ball']", "`rungs` must be one of all features, imputed"),
        ("rungs = []", "`rungs` must be a list that is not empty, got []"),
        ("site = 3", "`site` must be a table, got 3"),
        ("[site]\nccmc_model = 'A_NAME_THAT_IS_TOO_LONG'", "`site.ccmc_model` must be a text of at most 16"),
        ("[schedule", "is no TOML file"),
        (f"speed = {'9' * 5000}", "is no TOML file: Exceeds the limit"),
        (f"speed = {'[' * 5000}", "is no TOML file: maximum recursion depth"),
        ('[log]\npath = "a\\u0000b"', "`log.path` must be a text of the form"),
        ('[server]\naddress = "a\\u0000b"', "`server.address` must be a text of the form"),
    ],
)
def test_errors_name_the_key_and_the_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingError) as error:
        read_settings(write(tmp_path, text))
    assert message in str(error.value)
    assert "kflare.toml" in str(error.value)
    assert "secret" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    begin = r": begin with `kflare forecast --print-settings > .*nowhere\.toml`, or try `kflare demo`"
    with pytest.raises(SettingError, match=r"nowhere\.toml` cannot be read: No such file or directory" + begin):
        read_settings(tmp_path / "nowhere.toml")


def test_defaults_stand_for_themselves() -> None:
    assert ForecastSettings().site.folder == Path("site")
