"""`tools/paper_table_1.py`: the rows as the paper prints them, ours below, and what is no result."""

import json

import pytest

from tools.paper_table_1 import main, rows_of


def write(path, content):
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def results(tmp_path):
    # Nishizuka's C row of the paper is this table: .82 .53 .09 .63 1.53 .2.
    counts = {"tp": 4967, "fp": 4420, "fn": 1171, "tn": 20778}
    quiet = {"tp": 0, "fp": 0, "fn": 0, "tn": 5}
    fit = {"model": "cnn-c", "seeds": [{"seed": 3, "scores": [
        {"method": "network", "span": "validation", **quiet}, {"method": "network", "span": "test", **counts},
        {"method": "network", "span": "year 2011", **quiet}]}]}  # fmt: skip
    half = {name: count // 2 for name, count in counts.items()}
    rest = {name: count - half[name] for name, count in counts.items()}
    folds = {"tables": {"validation": [half, rest], "half": [quiet, quiet]}}
    scores = {"model": "defn-c", "all samples": {"methods": {"network": folds}}, "criteria": ["(ii) NOT met: 5 of 5"]}
    page = {"event": "≥C1.0", "regions": None, "contingency": [
        {"method": "NOAA", "threshold": 0.5, "decides_at": 0.3, **counts},
        {"method": "NOAA", "threshold": 0.4, "decides_at": 0.4, **quiet}]}  # fmt: skip
    return [write(tmp_path / f"{name}.json", one) for name, one in (("a", fit), ("b", scores), ("c", page))]


def cells(text):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]


def test_the_paper_s_rows_and_ours_stand_in_one_table(results, tmp_path, capsys):
    assert main([str(path) for path in results]) == 0
    rows = cells(out := capsys.readouterr().out)
    assert rows[0][3:] == ["ACC", "HSS", "ApSS", "TSS", "FB", "Event Rate"]
    assert len({len(row) for row in rows}) == 1
    published = {row[0].split(" (")[0]: row[1:] for row in rows[2:7]}
    assert published["Yi et al."] == ["Full-disk", "yes", "0.83", "0.65", "0.61", "0.65", "1", "0.55"]
    assert published["Huang et al."] == ["AR", "no", "0.76", "0.34", "-0.61", "0.49", "2.06", "0.15"]
    assert published["Event statistics"][-2:] == ["...", "0.81"]
    nishizuka = ["0.82", "0.53", "0.09", "0.63", "1.53", "0.20"]
    assert rows[7:] == [
        ["cnn-c, network, seed 3", "Full-disk", "yes", *nishizuka],
        ["defn-c, network, cross-validated", "AR", "no", *nishizuka],
        ["≥C1.0, NOAA at 30 %", "Full-disk", "...", *nishizuka],
    ]
    assert "[3] no one table has these scores" in out
    assert main([str(results[0]), "--output", str(tmp_path / "table.md")]) == 0
    assert [cell for cell in cells((tmp_path / "table.md").read_text())[-1] if cell] == rows[7]


@pytest.mark.parametrize("content", ["[1]", "{", '{"model": "cnn-c"}', '{"model": "x", "all samples": {}}'])
def test_what_is_no_result_is_refused(tmp_path, capsys, content):
    path = tmp_path / "result.json"
    path.write_text(content)
    assert main([str(path)]) == 1
    assert f"{path} is no result that has contingency tables" in capsys.readouterr().err
    assert main([str(tmp_path / "nowhere.json")]) == 1


def test_a_table_without_an_event_has_no_scores(tmp_path):
    row = {"method": "x", "span": "test", "tp": 0, "fp": 0, "fn": 0, "tn": 4}
    path = write(tmp_path / "a.json", {"model": "defn-c", "seeds": [{"seed": 0, "scores": [row]}]})
    assert [found.table.tn for found in rows_of(path)] == [4]
    assert main([str(path), "--output", str(tmp_path / "t.md")]) == 0
    assert cells((tmp_path / "t.md").read_text())[-1][1:] == ["AR", "yes", "1.00", "...", "...", "...", "...", "0.00"]
