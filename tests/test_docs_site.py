"""The documentation site: its pages are in step with the code, links lead somewhere, nothing is loaded from outside."""

import argparse
import importlib
import re
import shlex
import shutil
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest

from kflare.__main__ import COMMANDS
from kflare.commands.options import refuse_idle_options
from kflare.operations.settings import told_of_settings

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "_ext"))
pages = importlib.import_module("generated_pages")
outside_requests = importlib.import_module("no_outside_request").outside_requests
sys.path.pop(0)

MARKDOWN = sorted(
    path
    for folder, pattern in (
        (ROOT, "*.md"),
        (DOCS, "*.md"),
        (ROOT / "serving", "**/*.md"),
        (ROOT / "savedmodels", "**/*.md"),
    )
    for path in folder.glob(pattern)
)
each_page = pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: str(path.relative_to(ROOT)))


def prose(path):
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(path):
    """As GitHub and MyST name the headings of a page."""
    found = re.findall(r"^#{1,6} +(.+?) *$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", title).lower()).replace(" ", "-") for title in found}


@each_page
def test_links_lead_to_a_file_and_a_heading(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        place, _, anchor = target.partition("#")
        # Pages that are made when the site is built; Sphinx refuses a link to one that is not.
        if re.match(r"[a-z]+:", target) or place.startswith("generated/"):
            continue
        goal = (path.parent / place).resolve() if place else path
        assert goal.exists(), target
        assert not anchor or anchor in anchors(goal), target


def test_every_page_stands_in_a_table_of_contents():
    contents = re.compile(r"^```\{toctree\}\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    listed = {
        re.sub(r".*<(.*)>", r"\1", line)
        for path in DOCS.glob("*.md")
        for block in contents.findall(path.read_text(encoding="utf-8"))
        for line in block.splitlines()
        if line and not line.startswith(":")
    }
    pages_here = {path.stem for path in DOCS.glob("*.md")} | {f"generated/{name}" for name in pages.OUTSIDE.values()}
    assert pages_here - listed == {"index"}


def test_nothing_cites_a_file_that_a_reader_does_not_have():
    # In two parts, so that this file does not cite them either.
    cited = re.compile("|".join(f"{name}(?:\\.md\\b|[ :])" for name in ("SCI" + "ENCE", "DES" + "IGN", "ANCH" + "ORS")))
    for folder in ("kflare", "docs", "tests", "tools", "serving"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".md", ".csv", ".toml"} and not {"_build", "generated"} & set(path.parts):
                assert not cited.search(path.read_text(encoding="utf-8")), path


def lines_of(text):
    """The command lines of kflare in the shell blocks of a page, up to a comment, a pipe or an ampersand."""
    for block in re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            if re.match(r"kflare|python -m kflare\.|tools/", line):
                words = shlex.shlex(line, posix=True, punctuation_chars=True)
                words.whitespace_split = True
                yield list(takewhile(lambda word: word not in {"|", "&", "&&", ">", ";", "<"}, words))


@each_page
def test_commands_take_what_they_are_shown_with(path):
    for words in lines_of(path.read_text(encoding="utf-8")):
        if words[0].startswith("tools/"):
            assert (ROOT / words[0]).is_file(), words
            continue
        name, *arguments = words[1:] if words[0] == "kflare" else [words[2].removeprefix("kflare."), *words[3:]]
        if name == "--help":
            continue
        # argparse ends the program where an option is unknown; one that has no effect is refused.
        refuse_idle_options(importlib.import_module(f"kflare.commands.{name}").main.parser(), name, arguments)


def test_every_setting_is_on_its_page():
    text = pages.settings_page()
    assert len(re.findall(r"^\| `", text, re.MULTILINE)) == len(told_of_settings())
    assert "| `keep_days` | days | `3.0` | Observations older than this are deleted;" in text
    assert "| `flares` | – | not set |" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_on_the_page_of_its_command(name):
    def options(parser):
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for inner in action.choices.values():
                    yield from options(inner)
            elif action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction):
                yield action

    text = pages.command_page(name)
    parser = importlib.import_module(f"kflare.commands.{name}").main.parser()
    for action in options(parser):
        for word in action.option_strings:
            assert f"`{word}" in text, word
    assert f"]({'commands/' + name}.md)" in pages.commands_page()


def test_every_public_name_has_its_place():
    for room, names in pages.rooms().items():
        text = pages.room_page(room, names)
        assert all(f"\n{name}\n{'-' * len(name)}\n" in text for name in names)


def test_links_are_turned_to_where_the_page_stands():
    turned = pages.with_links(
        ROOT / "serving" / "README.md",
        DOCS / "generated" / "serving.md",
        "[a](../docs/operations.md#the-marks) [b](tls/) [c](https://x.org) [d](#compose) [e](../CONTRIBUTING.md)",
    )
    assert turned == "[a](../operations.md#the-marks) b [c](https://x.org) [d](#compose) [e](contributing.md)"


def test_what_a_page_loads_from_elsewhere_is_found(tmp_path):
    (tmp_path / "good.html").write_text('<a href="https://x.org">x</a><script src="a.js"></script><img src="data:,">')
    assert outside_requests(tmp_path) == []
    (tmp_path / "bad.html").write_text(
        '<script src="//cdn.org/a.js"></script><link rel="stylesheet" href="HTTPS://f.org">'
    )
    (tmp_path / "bad.css").write_text("@font-face { src: url( 'http://f.org/a.woff2') }")
    assert [address for _, address in outside_requests(tmp_path)] == [
        "//cdn.org/a.js",
        "HTTPS://f.org",
        "http://f.org/a.woff2",
    ]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("pydata_sphinx_theme", reason="the site's theme is not installed: pip install kflare[docs]")
    out = tmp_path_factory.mktemp("site") / "html"
    command = [ROOT / "tools" / "docs", "--no-gallery", out]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=550)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_asks_nobody(site):
    assert outside_requests(site) == []
    for name in ("index", "start", "models", "faq", "operations", "generated/settings", "generated/serving", "api"):
        assert (site / f"{name}.html").is_file(), name
    text = (site / "science.html").read_text(encoding="utf-8")
    assert "<math" in text


@pytest.mark.slow
def test_search_finds_without_a_network_and_pages_are_for_phones_and_screen_readers(site):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install kflare[test]")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium on the PATH")
    asked = []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"file://{site}/search.html?q=grace_minutes")
        page.wait_for_selector("#search-results li a")
        assert any("settings" in link.get_attribute("href") for link in page.query_selector_all("#search-results li a"))
        for name in (
            "index",
            "start",
            "models",
            "science",
            "skill",
            "generated/settings",
            "generated/commands/fit",
            "features",
        ):
            page.goto(f"file://{site}/{name}.html")
            assert page.evaluate("document.documentElement.scrollWidth") == 390, name
            assert axe.Axe().run(page).response["violations"] == [], name
        browser.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
