"""One JSON line per event."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kflare.errors import SettingError
from kflare.operations.event_log import EventLog


def test_events_are_json_lines_with_the_cycle(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "kflare.log"
    log = EventLog(str(path))
    log("started", pid=3)
    with log.of_cycle("c1").timed("measured", regions=2) as found:
        found["missing"] = "AIA\n131"
    first, second = map(json.loads, path.read_text().splitlines())
    assert (first["event"], first["cycle"], first["pid"]) == ("started", "", 3)
    assert (second["cycle"], second["regions"], second["missing"]) == ("c1", 2, "AIA\n131")
    assert 0 <= second["seconds"] < 5
    assert second["time"].endswith("Z")


def test_standard_error_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    EventLog()("hello", path=Path("x"))
    assert json.loads(capsys.readouterr().err)["path"] == "x"


def test_a_full_disk_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    # /dev/full takes no byte: every write fails with "No space left on device".
    EventLog("/dev/full")("hello")
    assert "No space left" in capsys.readouterr().err


def test_a_full_disk_under_standard_error_too_stops_nothing() -> None:
    code = "from kflare.operations.event_log import EventLog; EventLog('/dev/full')('hello'); print('on')"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=full, check=False)
    assert done.stdout == b"on\n"


def test_an_unwritable_log_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"`log\.path` .* cannot be written"):
        EventLog(str(tmp_path))
