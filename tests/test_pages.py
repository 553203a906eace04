"""`tools/pages`: what makes the figures of docs/ again, and when two pages tell the same."""

import runpy
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROWS = tomllib.loads((ROOT / "tools" / "pages.toml").read_text(encoding="utf-8"))["pages"]


@pytest.fixture(scope="module")
def pages():
    return runpy.run_path(str(ROOT / "tools" / "pages.py"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["command"].split()[0] + row.get("mark", ""))
def test_each_row_names_a_page_and_a_program(row):
    texts = [(ROOT / "docs" / page).read_text(encoding="utf-8") for page in row["page"]]
    assert (ROOT / row["command"].split()[0]).is_file()
    if "mark" in row:
        (text,) = texts
        assert text.count(f"<!-- {row['mark']} -->\n| ") == 1


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("| 27/29 = 0.931 | 2.65 |", "| 27/29 = 0.931 | 2.64 |", True),  # one in the last digit: rounding
        ("| 27/29 = 0.931 | 2.65 |", "| 27/29 = 0.931 | 2.62 |", False),
        ("| 27/29 = 0.931 | 2.65 |", "| 26/29 = 0.931 | 2.65 |", False),  # a count
        ("0.30 of 12 days", "0.30 of 12 weeks", False),
        ("a\nb 1.0", "a\nnew\nb 1.0", False),
        ("a\n\nb 1.0", "a\n\nb 1.0", True),
    ],
)
def test_what_agrees(pages, old, new, same):
    found = pages["differences"](old, new)
    assert (not found) == same, found


def test_only_the_table_between_its_marks_changes(pages):
    text = "x\n<!-- m -->\n| old |\n<!-- end -->\n| old |\n<!-- n -->\n| old |\n<!-- end -->\n"
    assert pages["with_table"](text, "m", "10 images\n| new |\n| 1 |\n") == text.replace(
        "<!-- m -->\n| old |", "<!-- m -->\n| new |\n| 1 |"
    )
    with pytest.raises(ValueError, match="no table"):
        pages["with_table"](text, "m", "no images\n")
    with pytest.raises(ValueError, match="once"):
        pages["with_table"](text, "other", "| 1 |\n")


def test_an_old_figure_is_told_and_nothing_is_written(pages, tmp_path, monkeypatch, capsys):
    """Run whole on a source with a page whose table is of another kflare."""
    import subprocess

    (tmp_path / "docs").mkdir()
    (tmp_path / "tools").mkdir()
    page = tmp_path / "docs" / "a.md"
    page.write_text("text\n<!-- m -->\n| 1.25 | 7 |\n<!-- end -->\n")
    (tmp_path / "tools" / "make.py").write_text("print('| 1.25 | 8 |')")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    tool = tmp_path / "tools" / "pages.py"
    tool.write_text((ROOT / "tools" / "pages.py").read_text(encoding="utf-8"))
    tool.with_suffix(".toml").write_text(
        '[[pages]]\npage = ["a.md"]\ncommand = "tools/make.py"\nmark = "m"\nminutes = 0\n'
        '[[pages]]\npage = ["a.md"]\ncommand = "tools/make.py {data}"\nmark = "m"\nminutes = 0\n'
    )
    copy, before = runpy.run_path(str(tool)), page.read_text()
    monkeypatch.setattr("sys.argv", ["tools/pages", "--data", str(tmp_path / "none")])
    assert copy["main"]() == 1
    told = capsys.readouterr().out
    assert "- | 1.25 | 7 |\n+ | 1.25 | 8 |" in told
    assert f"left out, no data in {tmp_path / 'none'}" in told
    assert page.read_text() == before
    monkeypatch.setattr("sys.argv", ["tools/pages", "--write"])
    copy["main"]()
    assert "| 1.25 | 8 |" in page.read_text()
    assert copy["main"]() == 0
