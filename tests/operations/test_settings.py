"""`kflare.toml`: defaults, round trip, and errors that name the key."""

from pathlib import Path

import pytest

from kflare.errors import SettingError
from kflare.operations.forecast import RUNGS
from kflare.operations.settings import ForecastSettings, as_toml, read_settings


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
        write(tmp_path, '[data]\nflares = "f.csv"\n[site]\nfolder = "/srv/www"\n[ledger]\nurl = "sqlite:///l.db"\n')
    )
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
        ("[site]\ntitle = 1979-05-27", "`site.title` must be a text, got {'time': '1979-05-27'}"),
        ("[data]\nattempts = 0", "`data.attempts` must be above 0"),
        ("[server]\nregion_models = ['cnn-m']", "`server.region_models` may hold defn-c and defn-m, got cnn-m"),
        ("[server]\nversion_label = ''", "`server.version_label` must be a label"),
        ("[server]\nattribution = 'yes'", "`server.attribution` must be true or false"),
        ("[marks]\nwarning = 0.9", "`marks` must keep"),
        ("[marks]\nno_sunspot = 0.0", "`marks` must keep 0 < no_sunspot"),
        ("[ledger]\nurl = 'ledger.db'", "`ledger.url` must be a database URL"),
        ("rungs = ['crystal ball']", "`rungs` may hold all features"),
        ("rungs = []", "`rungs` may hold"),
        ("site = 3", "`site` must be a table, got 3"),
        ("[site]\nccmc_model = 'A_NAME_THAT_IS_TOO_LONG'", "`site.ccmc_model` must be a text of at most 16"),
        ("[schedule", "is no TOML file"),
    ],
)
def test_errors_name_the_key_and_the_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingError) as error:
        read_settings(write(tmp_path, text))
    assert message in str(error.value)
    assert "kflare.toml" in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"nowhere\.toml` cannot be read"):
        read_settings(tmp_path / "nowhere.toml")


def test_defaults_stand_for_themselves() -> None:
    assert ForecastSettings().site.folder == Path("site")
