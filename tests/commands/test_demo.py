"""`kflare demo`: a week of a made-up Sun from the released models to a site, as a newcomer runs it."""

import os
import re
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from kflare.commands import demo
from kflare.flares.labels import reaches
from kflare.operations.demonstration import Demonstration
from kflare.operations.ledger import Ledger
from kflare.operations.outcomes import forecast_outcomes
from kflare.serving import Client
from kflare.sun.disk import FULL_DISK

UNTIL = "2026-11-30T17:30Z"
LAST = datetime(2026, 11, 30, 15, tzinfo=UTC)


@pytest.fixture(scope="module")
def week(tmp_path_factory):
    """The folder of a demonstration, what it said, and the process, which serves the models yet."""
    place = tmp_path_factory.mktemp("demo")
    # A network that cannot be reached: whatever asked an archive would fail or wait.
    alone = {**os.environ, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    alone["no_proxy"] = "127.0.0.1"
    # Jobs in the background are started with SIGINT ignored.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "kflare.demo", "week", "--until", UNTIL]
    with subprocess.Popen(command, cwd=place, env=alone, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = []
            for line in process.stdout:
                said.append(line)
                if "until Ctrl-C" in line:
                    break
            yield place / "week", "".join(said), process
        finally:
            process.kill()


@pytest.mark.slow
def test_it_says_what_it_does_and_that_the_sun_is_made_up(week):
    folder, said, _ = week
    assert "made up" in said.splitlines()[0]
    assert len(re.findall(r"^2026-11-\d\d \d\d:00 UTC  regions: \d+  C .* %.*, M .* %", said, re.MULTILINE)) == 28
    assert said.count("They said yes") == 2
    assert "too few to tell skill" in said
    assert (folder / "site" / "week.html").as_uri() in said
    assert len(re.findall(r"^  kflare ", said, re.MULTILINE)) == 3


@pytest.mark.slow
def test_the_forecasts_are_of_the_networks_recorded_and_joined_with_what_followed(week):
    folder, said, _ = week
    with Ledger(f"sqlite:///{folder / 'ledger.sqlite'}", begin=False) as ledger:
        forecasts = list(ledger.cycles(LAST - timedelta(days=8), LAST + timedelta(hours=1)))
        assert [one.issue for one in forecasts] == [LAST - timedelta(hours=6 * back) for back in range(27, -1, -1)]
        assert {use.name for one in forecasts for use in one.models} == {"cnn-c", "cnn-m", "defn-c", "defn-m"}
        assert all("made up" in " ".join(one.remarks) for one in forecasts)
        assert all(one.regions for one in forecasts)
        assert not ledger.faults("")
        table = forecast_outcomes(ledger, LAST - timedelta(days=8), LAST)
        words = [line for line in said.splitlines() if line.startswith("Class M")]
    disk = table[table["region"].eq(FULL_DISK) & table["method"].eq("kflare") & table["threshold"].eq("M")]
    known = disk.dropna(subset="observed")
    # The list is complete up to 3 h before the last issue: the windows of 23 forecasts have ended by then.
    assert len(known) == 23
    assert f"flares followed {int(known['observed'].sum())} of the 23" in words[0]
    assert 0 < known["observed"].sum() < 23
    # Another Sun, another answer: the networks see it.
    assert np.ptp(disk["probability"]) > 0.2


@pytest.mark.slow
def test_the_outcomes_are_the_flares_of_the_sun(week, tmp_path):
    folder, _, _ = week
    sun = Demonstration.prepare(tmp_path / "again", now=datetime.fromisoformat(UNTIL), server="nowhere:1").sun
    flares = sun.flares.table[reaches(sun.flares.table["flux"], "C")]
    with Ledger(f"sqlite:///{folder / 'ledger.sqlite'}", begin=False) as ledger:
        recorded = ledger.flares(LAST - timedelta(days=6), LAST - timedelta(hours=3)).table
    recorded = recorded[reaches(recorded["flux"], "C")]
    true = flares[flares["start"].between(LAST - timedelta(days=6), LAST - timedelta(hours=3), inclusive="left")]
    assert sorted(zip(recorded["start"], recorded["goes_class"], strict=True)) == sorted(
        zip(true["start"], true["goes_class"], strict=True)
    )


@pytest.mark.slow
def test_every_page_says_that_the_sun_is_made_up(week):
    site = week[0] / "site"
    pages = [*site.glob("*.html"), *site.glob("archive/*.html")]
    assert {"index.html", "recent.html", "verification.html", "about.html", "week.html"} <= {one.name for one in pages}
    assert len(list(site.glob("archive/????-??-??.html"))) == 8
    assert all("made-up Sun" in page.read_text(encoding="utf-8") for page in pages)
    scored = (site / "verification.html").read_text(encoding="utf-8")
    assert scored.count(">SWPC</td>") == 3  # a class each, beside the networks'
    assert "beside a made-up SWPC" in scored
    text = (site / "week.html").read_text(encoding="utf-8")
    for picture in re.findall(r'src="([^"]+png)"', text):
        assert (site / picture).stat().st_size > 10_000
    assert not re.findall(r'(?:src|href)="https?:', text)


@pytest.mark.slow
def test_the_models_are_served_at_the_end_and_until_ctrl_c(week):
    folder, said, process = week
    address = re.search(r"served at (\S+) until", said)[1]
    image = folder.parent / re.search(r"kflare predict (\S+) --server", said)[1]
    done = subprocess.run(
        [sys.executable, "-m", "kflare.predict", image, "--server", address, "--json"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert '"calibrated"' in done.stdout
    with Client(address) as client:
        assert client is not None
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    host, port = address.split(":")
    with pytest.raises(OSError, match=r"refused"):
        socket.create_connection((host, int(port)), timeout=5)


def test_a_folder_that_is_there_is_refused(tmp_path, capsys):
    (tmp_path / "notes.txt").touch()
    assert demo.main([str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"kflare.demo: `{tmp_path}` is there already: name a new folder, or delete it\n"
    # Failed before: it was found out after the models were loaded, a quarter of a minute later.
    for place, reason in (("/proc/x", "No such file or directory"), (tmp_path / "notes.txt", "File exists")):
        assert demo.main([str(place)]) == 1
        said = f"kflare.demo: cannot write to `{place}`: {reason}; choose another folder\n"
        assert capsys.readouterr() == ("", said)
