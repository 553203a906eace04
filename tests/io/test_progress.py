"""Progress where no terminal shows a bar: lines, also while one item takes long."""

import subprocess
import sys
import time

import pytest

from kflare.io import progress as module
from kflare.io.progress import progress


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(module, "SECONDS", 0.2)


def test_a_slow_item_is_told_of_too_and_the_end(capsys):
    for number in progress(range(3), desc="measuring", unit="image", delay=2):
        time.sleep(0.7 if number == 2 else 0)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 3
    # The third item is at work: two are done, and their time tells that of the rest.
    assert lines[0].startswith("measuring: 2 of 3 images after 00:00")
    assert lines[-1] == "measuring: 3 of 3 images after 00:00"


def test_what_is_over_at_once_says_nothing(capsys):
    with progress(total=2, desc="fetching", unit="file") as bar:
        bar.update(2)
    assert list(progress(iter("ab"))) == ["a", "b"]
    time.sleep(0.3)
    assert capsys.readouterr().err == ""


def test_how_long_it_will_take_is_of_what_was_done_here(capsys):
    with progress(total=100, initial=90, desc="training", unit="step") as bar:
        bar.set_postfix_str("epoch 9")
        time.sleep(0.95)
        bar.update(5)
        time.sleep(0.3)
    # Five in a second, and five to come; by all 95 there would be nothing left.
    assert "training: 95 of 100 steps after 00:01, about 00:01 more; epoch 9" in capsys.readouterr().err.splitlines()


def test_an_error_ends_the_lines(capsys):
    def work():
        for _ in progress(range(5), desc="x", unit="y"):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no") as error:
        work()
    del error
    capsys.readouterr()
    time.sleep(0.5)
    assert capsys.readouterr().err == ""


def test_of_a_process_whose_output_goes_to_a_file(tmp_path):
    code = (
        "import time, kflare.io.progress as p\np.SECONDS = 0.2\n"
        "for _ in p.progress(range(2), desc='waiting', unit='nap'):\n    time.sleep(0.5)"
    )
    with (tmp_path / "log").open("w") as log:
        subprocess.run([sys.executable, "-c", code], stderr=log, check=True)
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0] == "waiting: 0 of 2 naps after 00:00"
    assert lines[-1] == "waiting: 2 of 2 naps after 00:01"
