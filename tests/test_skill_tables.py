"""The score tables of docs/skill.md and skill_cnn.md are those that the training of the newest released models kept."""

import runpy
import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[1] / "tools"


def test_the_page_has_the_tables_of_the_newest_models(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(TOOLS), *sys.path])
    tool = runpy.run_path(str(TOOLS / "skill_tables.py"))
    texts = {page.name: page.read_text(encoding="utf-8") for page in tool["DOCS"]}
    for text in texts.values():
        assert tool["filled"](text) == text
    assert [match[1:] for match in tool["TABLE"].findall(texts["skill_cnn.md"])] == [
        (what, name) for what in ("reading", "scores") for name in ("cnn-m", "cnn-c")
    ]
    assert [match[1:] for match in tool["TABLE"].findall(texts["skill.md"])] == [("tests", "defn-*")]
