"""`tools/paper_tables_2_3.py`: the paper's rows as printed, ours by their counts, and what is no result."""

import csv
import json

import pytest

from kflare.verification.contingency import ContingencyTable
from tools.paper_tables_2_3 import PUBLISHED, main


def cells(text):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]


def test_the_paper_s_scores_follow_from_its_counts():
    rows = [row for row in csv.DictReader(PUBLISHED.read_text(encoding="utf-8").splitlines()) if row["tp"]]
    assert [(row["class"], row["threshold"]) for row in rows] == [
        ("M", "45"),
        ("M", "40"),
        *(("C", p) for p in ("50", "45", "40")),
    ]
    for row in rows:
        scores = ContingencyTable(*(int(row[name]) for name in ("tp", "fp", "fn", "tn"))).scores()
        for name in ("accuracy", "tss", "far", "hss"):
            assert scores[name] == pytest.approx(float(row[name]), abs=0.011), (row["class"], row["threshold"], name)


def test_ours_stand_below_the_paper_s(tmp_path, capsys):
    counts = {"tp": 27, "fp": 18, "fn": 11, "tn": 2177}  # the paper's own, of ≥C at 50 %
    quiet = {"tp": 0, "fp": 0, "fn": 0, "tn": 5}
    found = [
        {"method": "kflare", "threshold": 0.5, "decides_at": 0.5, **counts},
        {"method": "kflare", "threshold": 0.45, "decides_at": 0.45, **quiet},
    ]
    path = tmp_path / "verification.json"
    path.write_text(json.dumps({"event": "≥C1.0 flares", "contingency": found}))
    assert main([str(path)]) == 0
    rows = cells(capsys.readouterr().out)
    assert rows[2][1:4] == ["≥M", "50 %", "..."]
    assert rows[5][1:] == rows[8][1:] == ["≥C", "50 %", "27", "18", "11", "2177", "0.99", "0.70", "0.40", "0.64"]
    assert rows[9] == ["kflare", "≥C", "45 %", "0", "0", "0", "5", "1.00", "...", "...", "..."]


@pytest.mark.parametrize("content", ["[1]", "{", '{"event": "largest class"}', '{"event": "≥C1.0 flares"}'])
def test_what_is_no_verification_of_a_ledger_is_refused(tmp_path, capsys, content):
    path = tmp_path / "verification.json"
    path.write_text(content)
    assert main([str(path)]) == 1
    assert f"{path} is no verification of a ledger" in capsys.readouterr().err
