"""The programs of docs/other_servers.md, as far as they can be read without the servers."""

import json
import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "other_servers.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_each_server_has_a_program_and_names_a_released_version():
    programs = blocks("python")
    imported = [re.search(r"^(?:from|import) (mlserver|kserve|bentoml)", text, re.MULTILINE)[1] for text in programs]
    assert imported == ["mlserver", "kserve", "bentoml"]
    for text in programs:
        compile(text, str(PAGE), "exec")
    assert all(json.loads(text)["implementation"] == "saved.SavedModel" for text in blocks("json"))
    for version in set(re.findall(r"savedmodels/([\w-]+/\d+)", PAGE.read_text(encoding="utf-8"))):
        assert (PAGE.parents[1] / "savedmodels" / version / "saved_model.pb").is_file()


def test_the_numbers_are_the_known_answer():
    (known,) = (PAGE.parents[1] / "savedmodels" / "defn-c").glob("*/assets.extra/known_answer.txt")
    values = dict(line.split(" ", 1) for line in known.read_text().splitlines())
    text = PAGE.read_text(encoding="utf-8")
    told = re.search(r"of version (\d+) is:\n`probability` (\d\.\d+), `calibrated` (\d\.\d+)", text)
    assert told[1] == known.parts[-3]
    assert told.groups()[1:] == (f"{float(values['probability']):.6f}", f"{float(values['calibrated']):.6f}")
