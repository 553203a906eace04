"""`python -m kflare.fit`: whole runs on the synthetic Sun's region table, resumption after a kill, all refusals."""

import contextlib
import csv
import io
import json
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kflare.commands import fit
from kflare.flares.catalogue import FLUX_SCALES
from kflare.models.publish import read_metadata, verify_manifest, versions
from kflare.models.released import released_models
from kflare.synthetic.sun import SyntheticSun

pytestmark = pytest.mark.trains

SPANS = ["--train-until", "2014-02-01", "--validate-until", "2014-02-15"]


@pytest.fixture(scope="module")
def sun(tmp_path_factory):
    """Two months of regions.parquet and flares.csv."""
    folder, synthetic = tmp_path_factory.mktemp("sun"), SyntheticSun(datetime(2014, 1, 1, tzinfo=UTC), 60, seed=0)
    synthetic.region_table(synthetic.times(12)).to_parquet(folder / "regions.parquet")
    synthetic.flares.write_csv(folder / "flares.csv")
    return folder


def defn(folder, *more, model="defn-c"):
    return [model, "--regions", folder / "regions.parquet", "--flares", folder / "flares.csv", *SPANS, *more]


def run(*arguments):
    """Exit status, stdout and stderr of the command, run in this process."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        status = fit.main([str(argument) for argument in arguments])
    return status, out.getvalue(), err.getvalue()


def strict_json(text):
    def refuse(constant):
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def arguments(sun, folder):
    return defn(
        sun, "--seeds", 0, 1, "--epochs", 2, "--batch-size", 30,
        "--output", folder / "runs", "--publish", folder / "models",
    )  # fmt: skip


@pytest.fixture(scope="module")
def answer(arguments):
    """What the command says that trains two seeds and publishes one."""
    return run(*arguments)


def test_succeeds_and_prints_the_summary_that_it_keeps(answer, folder, sun):
    status, out, err = answer
    assert status == 0
    assert out == (folder / "runs" / "summary.txt").read_text()
    assert f"published: {folder / 'models' / 'defn-c' / '1'}" in out
    assert "mean of 2 seeds, test, network: TSS" in out
    flares = len(pd.read_csv(sun / "flares.csv"))
    repaired, untold = err.splitlines()
    assert repaired == f"{flares} flares in `flares.csv`, {FLUX_SCALES['irradiance']}: nothing to repair"
    assert re.match(r"flares.csv does not tell of all the week before \d+ of 455 rows: ", untold)  # those of the begin


def test_publishes_the_seed_that_validates_best(answer, folder):
    published = folder / "models" / "defn-c" / "1"
    verify_manifest(published)
    summary = strict_json((folder / "runs" / "summary.json").read_text())
    scores = {
        seed["seed"]: next(e for e in seed["scores"] if (e["method"], e["span"]) == ("network", "validation"))
        for seed in summary["seeds"]
    }
    best = max(scores, key=lambda seed: scores[seed]["tss"])
    assert summary["published"] == str(published)
    assert list(scores) == [0, 1]
    assert read_metadata(published)["decision_threshold"] == scores[best]["threshold"]
    state = strict_json((folder / "runs" / f"seed-{best}" / "state.json").read_text())
    assert state["published"] == str(published)


def test_the_model_says_where_it_comes_from(answer, folder, sun):
    content = read_metadata(folder / "models" / "defn-c" / "1")
    names = [feature["name"] for feature in content["features"]]
    # What the table has, what follows from it, and the flare history.
    assert {"AREA", "R_VALUE", "dt24USFLUX", "Mhis", "diskC7d"} <= set(names)
    assert content["data"] == {
        "flares": "flares.csv", "flare_scale": "irradiance", "validation": "given", "features": names,
    }  # fmt: skip
    table = pd.read_parquet(sun / "regions.parquet")
    spans = content["spans"]
    # A sample whose 24 h reach into the next span is in neither: the last one of training is of 31 January, 0 UT.
    assert spans["train"]["last"] == "2014-01-31T00:00:00+00:00"
    assert spans["validation"]["first"] == "2014-02-01T00:00:00+00:00"
    assert spans["train"]["samples"] == (table["time"] <= "2014-01-31T00:00Z").sum()
    assert sum(span["samples"] for span in spans.values()) < len(table)


def test_each_seed_keeps_log_curve_and_forecasts(answer, folder):
    for seed in (0, 1):
        kept = folder / "runs" / f"seed-{seed}"
        assert [row["epoch"] for row in rows_of(kept / "history.csv")] == ["1", "2"]
        with Image.open(kept / "learning_curve.png") as image:
            assert image.size == (840, 600)
        forecasts = pd.read_csv(kept / "forecasts.csv")
        assert (forecasts["time"] >= "2014-02-01").all()
        assert ((forecasts["span"] == "test") == (forecasts["time"] >= "2014-02-15")).all()
        assert set(forecasts["span"]) == {"validation", "test"}
        assert ((forecasts[["probability", "calibrated"]] > 0) & (forecasts[["probability", "calibrated"]] < 1)).all(
            axis=None
        )
    assert rows_of(folder / "runs" / "seed-0" / "history.csv") != rows_of(folder / "runs" / "seed-1" / "history.csv")


def test_the_same_command_again_neither_trains_nor_publishes(answer, arguments, folder):
    written = {path: path.stat().st_mtime_ns for path in (folder / "runs").glob("seed-*/*.h5")}
    status, out, err = run(*arguments, "--json")
    assert status == 0
    assert strict_json(out) == strict_json((folder / "runs" / "summary.json").read_text())
    assert strict_json(out)["published"] == str(folder / "models" / "defn-c" / "1")
    assert "is published already as" in err
    assert versions(folder / "models" / "defn-c") == [1]
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_other_settings_are_refused_naming_the_key(answer, arguments, folder):
    status, out, err = run(*arguments, "--epochs", 3)
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].startswith(
        f"kflare.fit: {folder / 'runs' / 'seed-0'} holds a run with another `epochs`"
    )


def test_without_publication(answer, arguments, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    where = arguments.index("--publish")
    assert run(*arguments, "--no-publish")[2] == (
        "kflare.fit: --publish has no effect with --no-publish: leave one of them out\n"
    )
    status, out, err = run(*arguments[:where], *arguments[where + 2 :], "--seeds", 1, "--no-publish")
    assert status == 0, err
    assert "\nnot published\n" in out
    assert versions(folder / "models" / "defn-c") == [1]
    assert not list(tmp_path.iterdir())


def test_it_publishes_to_the_folder_of_the_run_and_never_beside_the_released_models(answer, arguments, folder):
    where = arguments.index("--publish")
    status, out, err = run(*arguments[:where], *arguments[where + 2 :], "--seeds", 1)
    assert status == 0, err
    assert f"published: {folder / 'runs' / 'savedmodels' / 'defn-c' / '1'}" in out
    status, _, err = run(*arguments[:where], "--publish", released_models())
    why = "holds the models that are released with kflare: choose another folder"
    assert (status, err) == (1, f"kflare.fit: --publish {released_models()} {why}\n")


def test_into_another_directory_it_publishes_anew(answer, arguments, folder):
    status, _, _ = run(*arguments, "--seeds", 1, "--publish", folder / "more")
    assert status == 0
    assert versions(folder / "more" / "defn-c") == [1]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_training_goes_on_and_publishes(sun, tmp_path, how):
    arguments = defn(
        sun, "--epochs", 12, "--patience", 12, "--batch-size", 30, "--features", "AREA", "R_VALUE", "Chis1d",
        "--output", tmp_path / "runs", "--publish", tmp_path / "models",
    )  # fmt: skip
    kept = tmp_path / "runs" / "seed-0"
    process = subprocess.Popen(
        # Jobs in the background are started with SIGINT ignored.
        ["env", "--default-signal=INT", sys.executable, "-m", "kflare.fit", *map(str, arguments)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while not (kept / "history.csv").exists() or len(rows_of(kept / "history.csv")) < 3:
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(how)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
    if how == signal.SIGINT:
        assert told.decode().endswith("kflare.fit: interrupted; the same command goes on from what was finished\n")
    assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
    before = json.loads((kept / "state.json").read_text())["epochs"]
    assert 3 <= len(before) < 12
    assert not (tmp_path / "models").exists()

    status, _, err = run(*arguments)

    assert status == 0, err
    after = json.loads((kept / "state.json").read_text())["epochs"]
    assert [row["epoch"] for row in after] == list(range(1, 13))
    assert after[: len(before)] == before
    assert [int(row["epoch"]) for row in rows_of(kept / "history.csv")] == list(range(1, 13))
    # Gone on with what was learnt: the loss of the next epoch is nearer to the last one than to the first.
    losses = [row["loss"] for row in after]
    assert losses[len(before)] - losses[len(before) - 1] < 0.5 * (losses[0] - losses[len(before) - 1])
    verify_manifest(tmp_path / "models" / "defn-c" / "1")
    assert [path.name for path in (tmp_path / "models" / "defn-c").iterdir()] == ["1"]


def table_with(folder, **columns):
    """Options for a region table with other columns; None drops one."""
    table = pd.read_parquet(folder / "regions.parquet")
    table = table.drop(columns=[name for name, value in columns.items() if value is None])
    table = table.assign(**{name: value for name, value in columns.items() if value is not None})
    Path("table.parquet").unlink(missing_ok=True)
    table.to_parquet("table.parquet")
    return ["--regions", "table.parquet"]


def flares_with(folder, keep=lambda flares: flares):
    keep(pd.read_csv(folder / "flares.csv")).to_csv("list.csv", index=False)
    return ["--flares", "list.csv"]


def archive_of(names, content):
    Path("images").mkdir()
    for name in names:
        (Path("images") / name).write_bytes(content)
    return ["--magnetograms", "images"]


def disk_png():
    y, x = np.mgrid[:128, :128]
    buffer = io.BytesIO()
    Image.fromarray(np.where(np.hypot(x - 63.5, y - 63.5) < 56, 100 + 55 * (x // 8 % 2), 0).astype(np.uint8)).save(
        buffer, format="PNG"
    )
    return buffer.getvalue()


DAYS = [f"synthetic_201401{day:02d}_000000.png" for day in range(1, 13)]
IMAGE_SPANS = ["--train-until", "2014-01-05", "--validate-until", "2014-01-09"]

REFUSALS = {
    "empty folder": (lambda sun: ["cnn-c", *archive_of([], b"")], "no magnetogram in images: expected files ending in"),
    "no folder": (lambda sun: ["cnn-c", "--magnetograms", "nowhere"], "no file or folder nowhere"),
    "text named jpg": (
        lambda sun: ["cnn-c", *archive_of([f"{day[:-3]}jpg" for day in DAYS], b"no image"), *IMAGE_SPANS],
        "`images/synthetic_20140101_000000.jpg`",
    ),
    "image without time": (lambda sun: ["cnn-c", *archive_of(["sun.png"], disk_png())], "`images/sun.png`.*time"),
    "no option for data": (lambda sun: ["cnn-c"], "cnn-c needs --magnetograms DIR"),
    "small images": (
        lambda sun: ["cnn-c", *archive_of(DAYS, disk_png()), "--image-size", "64"],
        "--image-size must be at least 128 .*got 64",
    ),
    "no event among images": (
        lambda sun: [
            "cnn-m",
            *archive_of(DAYS, disk_png()[:200]),
            *flares_with(sun, lambda f: f[f.goes_class < "M"]),
            *IMAGE_SPANS,
            *("--image-size", "128"),
        ],
        "a flare >= M1.0 occurs in none of 4 samples of the train span",
    ),
    "coarse images": (
        lambda sun: ["cnn-c", *archive_of(DAYS, disk_png()), "--image-size", "256", *IMAGE_SPANS],
        r"`images/synthetic_20140101_000000.png`: too coarse for a network of 256 pixels: .* 76\.4 or more",
    ),
    "no images in a span": (
        lambda sun: ["cnn-c", *archive_of(DAYS, disk_png()[:200])],
        "the validation span holds no sample: the samples cover 2014-01-01 to 2014-01-12",
    ),
    "a period without images": (
        lambda sun: [
            "cnn-c",
            *archive_of(DAYS, disk_png()[:200]),
            *IMAGE_SPANS,
            "--periods",
            "a=2013-01-01..2014-01-09",
        ],
        "the period `a` holds no sample that is scored: these are of 2014-01-09 to 2014-01-12",
    ),
    "no images before": (
        lambda sun: ["cnn-c", *archive_of(DAYS, disk_png()[:200]), "--train-until", "2013-12-01"],
        "no sample lies before 2013-12-01, the end of training",
    ),
    "no event in what is held back": (
        lambda sun: [
            "cnn-m",
            *archive_of(DAYS, disk_png()[:200]),
            *flares_with(sun, lambda f: pd.concat([f[f.goes_class < "M"], f[:1].assign(goes_class="M5.0")])),
            *("--train-until", "2014-01-11", "--image-size", "128"),
        ],
        "a flare >= M1.0 occurs in none of 1 samples of the validation span: .*, give --validate-until .without it val",
    ),
    "no region data": (lambda sun: ["defn-c"], "defn-c needs either --sharp DIR or --regions FILE"),
    "sharp without regions' numbers": (lambda sun: ["defn-c", "--sharp", "."], "--sharp needs --harp-noaa FILE"),
    "no flare list": (lambda sun: [*defn(sun), "--flares", "nowhere.csv"], "`nowhere.csv` does not exist"),
    "flare list without class": (
        lambda sun: [*defn(sun), *flares_with(sun, lambda f: f.drop(columns="goes_class"))],
        "`list.csv`: a flare list needs the column `goes_class`.*its columns are start, peak, end",
    ),
    "flare list of other years": (
        lambda sun: [
            *defn(sun),
            *flares_with(sun, lambda f: f.drop(columns="told_from").replace("^2014", "2011", regex=True)),
        ],
        "`list.csv`: `told_from` and `told_until` must be a time and a later one, got '', '2011-03-02T00:00:00Z'",
    ),
    "flare list that says nothing of its span": (
        lambda sun: [*defn(sun), *flares_with(sun, lambda f: f[f.columns[:8]].replace("^2014", "2011", regex=True))],
        "`flares`: list.csv covers 201.* of .* samples need 2014",
    ),
    "flare list without regions' numbers": (
        lambda sun: [*defn(sun), *flares_with(sun, lambda f: f.drop(columns="noaa"))],
        "`flares`: list.csv names the region of 0 of its .* give a list with NOAA's region numbers",
    ),
    "no table": (lambda sun: [*defn(sun), "--regions", "nowhere.parquet"], "no region table nowhere.parquet"),
    "feature missing": (
        lambda sun: [*defn(sun), *table_with(sun, MEANGBZ=None), "--features", "AREA", "MEANGBZ"],
        "table.parquet lacks the feature `MEANGBZ`: add the column",
    ),
    "feature unknown": (
        lambda sun: [*defn(sun), "--features", "AREA", "BEAUTY"],
        "unknown feature `BEAUTY`: the known ones are AREA",
    ),
    "column unknown": (
        lambda sun: [*defn(sun), *table_with(sun, BEAUTY=1.0)],
        "table.parquet has the unknown feature `BEAUTY`",
    ),
    "feature not numeric": (
        lambda sun: [*defn(sun), *table_with(sun, AREA="many")],
        "feature `AREA` of .* must be numeric, got 'many'",
    ),
    "feature never measured": (
        lambda sun: [*defn(sun), *table_with(sun, R_VALUE=np.nan)],
        "feature `R_VALUE` was never measured in the training span",
    ),
    "dates overlap": (
        lambda sun: [*defn(sun), "--validate-until", "2014-01-20"],
        "--validate-until must be later than --train-until 2014-02-01T00:00Z, got 2014-01-20T00:00Z",
    ),
    "no event among regions": (
        lambda sun: [*defn(sun, model="defn-m"), *flares_with(sun, lambda f: f[f.goes_class < "M"])],
        "a flare >= M1.0 occurs in none of .* samples of the train span",
    ),
    "output is a file": (
        lambda sun: [*defn(sun), "--output", sun / "flares.csv"],
        "cannot write to `.*flares.csv`: .*; choose another folder",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_are_one_line_and_leave_nothing(case, sun, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, message = REFUSALS[case][0](sun), REFUSALS[case][1]
    if "--flares" not in arguments:
        arguments += ["--flares", sun / "flares.csv"]
    if "--train-until" not in arguments:
        arguments += SPANS
    before = sorted(tmp_path.rglob("*"))

    status, out, err = run(*arguments)

    assert (status, out) == (1, "")
    # Notes on the flare list may stand before what the data themselves cannot show.
    notes, line = err.splitlines()[:-1], err.splitlines()[-1]
    assert all(note.endswith(("nothing to repair", "are not known; give a list that does")) for note in notes)
    assert len(notes) <= 2 * (case in {"feature never measured", "no event among regions", "output is a file"})
    assert re.match(f"kflare.fit: .*{message}", line), line
    assert sorted(tmp_path.rglob("*")) == before


def test_wrong_usage_is_status_2(capsys):
    with pytest.raises(SystemExit) as exit_:
        fit.main(["cnn-x"])
    assert exit_.value.code == 2
    assert "invalid choice: 'cnn-x'" in capsys.readouterr().err


def test_what_is_left_out_is_told_before_dates_are_blamed(sun, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ends = flares_with(sun, lambda f: f.assign(told_until="2014-02-10T00:00:00Z")[f["start"] < "2014-02-10"])
    status, _, err = run(*defn(sun, "--output", "run"), *ends)
    assert status == 1
    assert re.search(
        r"\d+ rows whose 24 h the flare list does not cover left out\n.*test span holds no sample", err, re.DOTALL
    )


@pytest.mark.slow
def test_images_up_to_today_are_left_out_where_the_list_does_not_tell_what_followed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sun = SyntheticSun(datetime(2014, 1, 1, tzinfo=UTC), 60, seed=0)
    sun.write(tmp_path, size=128, cadence_hours=24)
    flares_with(tmp_path, lambda f: f.assign(told_until="2014-02-25T00:00:00Z")[f["start"] < "2014-02-25"])
    where = ["--magnetograms", "magnetograms", "--flares", "list.csv", "--image-size", 128, *SPANS, "--epochs", 1]
    status, _, err = run("cnn-c", *where, "--output", "run", "--no-publish")
    assert status == 0, err
    lost, of = (int(number) for number in re.search(r"(\d+) of (\d+) images left out: list.csv", err).groups())
    with (tmp_path / "run" / "seed-0" / "forecasts.csv").open() as file:
        times = [row["time"] for row in csv.DictReader(file)]
    assert max(times)[:10] == "2014-02-24"
    assert lost == sum(f"{time:%F}" > "2014-02-24" for time in sun.times(24))
    assert of == len(sun.times(24))


@pytest.mark.slow
def test_one_sample_a_day_from_the_nearest_earlier_image(tmp_path):
    synthetic = SyntheticSun(datetime(2014, 1, 1, tzinfo=UTC), 60, seed=0)
    synthetic.write(tmp_path, size=128, cadence_hours=22)
    where = ["--magnetograms", tmp_path / "magnetograms", "--flares", tmp_path / "flares.csv", "--image-size", 128]
    where += ["--train-until", "2014-02-01", "--validate-until", "2014-02-15", "--epochs", 1]
    where += ["--output", tmp_path / "run", "--no-publish"]
    status, _, err = run("cnn-c", *where, "--daily", 19)
    assert status == 0, err
    # An image every 22 h: at midnight the newest is 0, 2, 4, ... 20 h old in turn. Of 11 midnights the one of 20 h has
    # no image and the one of 0 h needs no earlier one. The last image is of about 2014-02-28: 59 midnights.
    found, earlier, without = (
        int(number) for number in re.search(r"(\d+) days.* (\d+) by an.* (\d+) without", err).groups()
    )
    assert found + without == pytest.approx(59, abs=1)
    assert without == pytest.approx(59 / 11, abs=1)
    assert earlier == pytest.approx(found * 9 / 10, abs=2)
    with (tmp_path / "run" / "seed-0" / "forecasts.csv").open() as file:
        times = [row["time"] for row in csv.DictReader(file)]
    assert times
    assert all(time[11:16] == "00:00" for time in times)


@pytest.mark.slow
def test_mdi_trains_and_mdi_and_hmi_test_in_one_command(tmp_path):
    # As Yi et al. (2021), in days: MDI to 2 February, then MDI and from 10 February HMI; no validation span is given.
    sun = SyntheticSun(datetime(2014, 1, 1, tzinfo=UTC), 60, seed=0)
    sun.flares.write_csv(tmp_path / "flares.csv")
    for day, seen in enumerate(sun.times(24)[:58]):
        folder = tmp_path / ("mdi/2014" if day < 40 else "hmi")
        folder.mkdir(parents=True, exist_ok=True)
        grey = sun.magnetogram(seen, size=128).to_bytes(100)
        Image.fromarray(grey).save(folder / f"{'mdi' if day < 40 else 'hmi'}_{seen:%Y%m%d_%H%M%S}.png")
    folders = [tmp_path / "mdi", tmp_path / "hmi"]
    status, out, err = run(
        "cnn-c", "--magnetograms", *folders, "--daily", 12, "--flares", tmp_path / "flares.csv",
        "--train-until", "2014-02-02", "--epochs", 1, "--image-size", 128, "--no-publish", "--output", tmp_path / "run",
        "--periods", "mdi=2014-02-02..2014-02-10", "hmi=2014-02-10..2014-03-01",
    )  # fmt: skip
    assert status == 0, err
    summary = strict_json((tmp_path / "run" / "summary.json").read_text())
    # 32 days before 2 February; nine tenths of them, 28, are trained on.
    assert summary["spans"][0].startswith("train: 2014-01-01 to 2014-01-28, ")
    assert summary["spans"][1].startswith("validation: 2014-01-29 to 2014-02-01, ")
    assert summary["validation"] in out
    assert summary["validation"].startswith("the last tenth of the training samples")
    scored = [e for e in summary["seeds"][0]["scores"] if e["method"] == "network"]
    counts = {e["span"]: sum(e[count] for count in ("tp", "fp", "fn", "tn")) for e in scored}
    assert counts == {
        "validation": 4, "test": 26, "instrument HMI": 18, "instrument MDI": 8, "period mdi": 8, "period hmi": 18,
    }  # fmt: skip


def test_a_daily_limit_of_a_day_is_refused(sun, tmp_path):
    status, _, err = run("cnn-c", "--magnetograms", tmp_path, "--flares", sun / "flares.csv", *SPANS, "--daily", 24)
    assert status == 1
    assert "--daily must lie in [0, 24)" in err
