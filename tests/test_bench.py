"""`tools/bench`: one table, each variant in a process of its own, peers held to the same numbers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

TOY = """
from pathlib import Path
import subprocess, sys
from benchmark import Row, Timed, threads

def prepare(folder):
    (folder / "set").write_text("4")

def ours(folder):
    return Timed(lambda: [float((folder / "set").read_text()), sum(range(200_000)) * 0.0], per=2)

def same(folder):
    return Timed(lambda: [4.0, 1e-6], per=2, note=f"{threads()} thread")

def other(folder):
    return Timed(lambda: [4.5, 0.0])

def absent(folder):
    import no_such_package

def broken(folder):
    raise ValueError("it is broken")

def dying(folder):
    import os
    runs = []
    return Timed(lambda: runs.append(1) or (os._exit(3) if len(runs) > 1 else None))

def started(folder):
    code = "kept = bytes([1]) * 300_000_000; sum(range(3_000_000))"
    return Timed(lambda: subprocess.run([sys.executable, "-c", code], check=True) and None)

ROWS = [
    Row("toy/plain", "a toy", ours, "sum", {"same": same, "other": other, "absent": absent, "broken": broken,
        "dying": dying}, prepare,
        threads=1, rounds=3),
    Row("toy/started", "a process", started, rounds=1),
]
"""


def bench(*given):
    line = [sys.executable, str(ROOT / "tools" / "bench.py"), *map(str, given)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


@pytest.fixture
def toy(tmp_path):
    (tmp_path / "bench_toy.py").write_text(TOY)
    return ["--rows", tmp_path, "--cache", tmp_path / "cache", "--json", tmp_path / "told.json"]


def test_peers_are_timed_refused_or_told_to_be_missing(toy, tmp_path):
    done = bench("toy/plain", *toy)
    told = {one["variant"]: one for one in json.loads((tmp_path / "told.json").read_text())["rows"]}
    assert list(told) == ["kflare", "same", "other", "absent", "broken", "dying"]
    assert told["same"]["difference"] == pytest.approx(1e-6)
    assert told["same"]["note"] == "1 thread"
    # kflare sums 200,000 numbers, its peer nothing.
    assert told["same"]["ratio"]["min"] > 10
    times = told["kflare"]["processor"]
    assert 0 < times["min"] <= times["median"] <= times["max"]
    assert "refused: its numbers differ by 5.0e-01" in told["other"]["error"]
    assert "ratio" not in told["other"]
    assert told["absent"]["error"] == "not installed: no_such_package"
    assert told["absent"]["missing"]
    assert told["dying"]["error"] == "ended with 3"
    assert told["broken"]["error"] == "ValueError: it is broken"
    assert done.returncode == 1  # of what was refused and what is broken
    for words in ("toy/plain, of one sum", "not installed: no_such_package", "ValueError: it is broken"):
        assert words in done.stdout


def test_processes_that_a_run_starts_count_with_their_time_and_memory(toy, tmp_path):
    assert bench("toy/started", *toy).returncode == 0
    (told,) = json.loads((tmp_path / "told.json").read_text())["rows"]
    assert 286 < told["peak_mb"] < 400  # 300,000,000 bytes are 286 MB of 2^20, and Python
    assert told["rounds"] == 1
    assert told["processor"]["median"] > 0.02


def test_a_set_is_written_once(toy, tmp_path):
    bench("toy/plain", *toy, "--quick")
    (written,) = (tmp_path / "cache").glob("bench_toy-*/set")
    written.write_text("5")  # what is there is taken
    bench("toy/plain", *toy, "--quick")
    told = {one["variant"]: one for one in json.loads((tmp_path / "told.json").read_text())["rows"]}
    assert told["same"]["difference"] == pytest.approx(1.0)


def test_all_is_listed_and_what_is_unknown_refused(toy):
    listed = bench("--list")
    assert listed.returncode == 0
    for name in ("forward/512x16", "training/512x16", "attribution/four-maps", "defn/step", "features/4096",
                 "cycle/4096", "verification/C", "ledger/publish-10y", "start/server", "lists/read-200000",
                 "observations/4096", "serving/image-16"):  # fmt: skip
        assert f"\n{name} " in f"\n{listed.stdout}"
    assert "memory/" not in listed.stdout  # which runs by its name alone
    assert "memory/images-read-100000" in bench("--list", "memory").stdout
    refused = bench("nothing", *toy)
    assert refused.returncode == 1
    assert 'no benchmark "nothing": choose of toy' in refused.stderr


@pytest.mark.slow
def test_a_real_row_beside_its_peer_and_beside_a_revision(tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    given = ["lists/read-20000", "--quick", "--cache", tmp_path / "cache", "--json", tmp_path / "told.json"]
    assert bench(*given).returncode == 0
    ours, peer = json.loads((tmp_path / "told.json").read_text())["rows"]
    assert peer["variant"] == "bare pandas"
    assert peer["difference"] < 1e-9
    assert 1 < peer["ratio"]["median"] < 20
    assert ours["peak_mb"] > 50
    done = bench(*given, "--compare", "HEAD", "--chart", tmp_path / "chart.png")
    assert done.returncode == 0, done.stderr
    _, then = json.loads((tmp_path / "told.json").read_text())["rows"]
    assert then["variant"] == "kflare of HEAD"
    assert then["difference"] == 0
    assert 0.2 < then["ratio"]["median"] < 5
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.trains
def test_memory_of_streams_is_measured_and_drawn(tmp_path):
    names = ["memory/images-read-100", "memory/images-attributed-100", "memory/flares-100"]
    given = ["--cache", tmp_path / "cache", "--json", tmp_path / "told.json", "--chart", tmp_path / "chart.png"]
    done = bench(*names, *given)
    assert done.returncode == 0, done.stdout
    told = {one["row"]: one["peak_mb"] for one in json.loads((tmp_path / "told.json").read_text())["rows"]}
    assert list(told) == names
    assert told["memory/images-attributed-100"] > told["memory/images-read-100"] > 30  # a few modules, and TensorFlow
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_revision_is_refused(toy):
    refused = bench("toy/plain", *toy, "--compare", "no-such-revision")
    assert refused.returncode == 1
    assert "--compare no-such-revision: no such revision" in refused.stderr


def test_a_batch_goes_through_the_network_as_the_benchmark_says():
    """Else the benchmark would measure the network whole, as for revisions before it was streamed."""
    from kflare.models import savedmodel

    assert '"_one_by_one"' in (ROOT / "tools" / "bench_forward.py").read_text()
    assert callable(savedmodel._one_by_one)
