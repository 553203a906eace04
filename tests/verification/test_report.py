"""The report: every number of the tables, nothing from elsewhere, nothing unescaped, readable in a browser."""

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from kflare.verification.comparison import VerificationSettings
from kflare.verification.report import verify_forecasts

HOSTILE = '<script>alert(1)</script> & $x_ "q" /../'


class Page(HTMLParser):
    """What a browser would load or run, and the text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.links, self.ids, self.text = [], [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        self.links += [attrs[name] for name in ("href", "src", "srcset", "action") if name in attrs]
        self.ids += [attrs["id"]] if "id" in attrs else []

    def handle_data(self, data):
        self.text += data


def seeded(days=150, methods=("ours", "theirs")):
    random = np.random.default_rng(2)
    likely = random.random(days)
    observed = (random.random(days) < likely).astype(int)
    return pd.concat(
        pd.DataFrame(
            {
                "time": pd.date_range("2016-01-01", periods=days),
                "method": method,
                "probability": np.clip(likely + random.normal(0, 0.1 * (number + 1), days), 0.01, 0.99),
                "observed": observed,
            }
        )
        for number, method in enumerate(methods)
    )


@pytest.fixture(scope="module")
def result():
    table = seeded(methods=("ours", HOSTILE))
    table.iloc[3, 2] = np.nan
    return verify_forecasts(
        table,
        settings=VerificationSettings(resamples=100),
        event="≥M1.0 <flares>",
        source="<b>table</b>.csv",
        missing="zero",
    )


@pytest.fixture(scope="module")
def page(result):
    return Page(result.html())


def test_the_page_needs_nothing_else(page):
    for link in page.links:
        assert link.startswith(("#", "data:image/png;base64,")), link
    assert not {"script", "link", "iframe", "object", "style"} & {tag for tag, _ in page.tags} - {"style"}
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
    assert len(page.ids) == len(set(page.ids))


def test_nothing_is_unescaped(page):
    assert HOSTILE in page.text
    assert "≥M1.0 <flares>" in page.text
    assert "<b>table</b>.csv" in page.text
    assert not any(tag in ("b", "flares") for tag, _ in page.tags)


def test_contingency_tables_come_before_scores_and_figures(result, page):
    html = result.html()
    assert html.index("<table") == html.index('<table class="contingency">')
    assert html.index('<table class="contingency">') < html.index("<img")
    headings = re.findall(r'<h2 id="(\w+)">', html)
    assert headings == [
        "how", "tables", "scores", "differences", "reliability", "roc", "thresholds", "series", "definitions",
    ]  # fmt: skip
    counts = result.comparison.contingency
    cells = [attrs for tag, attrs in page.tags if tag == "table" and attrs.get("class") == "contingency"]
    assert len(cells) == len(counts) == 6


def test_the_page_says_how_missing_forecasts_were_scored(page):
    assert "count as probability 0, as in the comparison of Leka et al. (2019)" in page.text
    assert "ours (forecasts not issued: 1)" in page.text


def test_every_figure_is_described_and_also_a_file(result, page):
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    pictures = {picture.name: picture.png for picture in result.pictures}
    assert len(images) == len(pictures) == 1 + 2 * 3 + 1
    for attrs in images:
        assert len(attrs["alt"]) > 20
        assert base64.b64decode(attrs["src"].partition(",")[2]) in pictures.values()
    files = result.files()
    for name, png in pictures.items():
        assert re.fullmatch(r"[a-z]+-\d\d", name)  # no method's name becomes a path
        assert files[f"figures/{name}.png"] == png
        assert png.startswith(b"\x89PNG")
    assert list(files)[-1] == "report.html"


def test_tables_as_csv_and_json(result):
    files = result.files()
    scores = pd.read_csv(io.BytesIO(files["scores.csv"]))
    assert scores["value"].tolist() == pytest.approx(result.comparison.scores["value"].tolist(), nan_ok=True)
    numbers = json.loads(files["verification.json"], parse_constant=pytest.fail)  # NaN is no JSON
    assert numbers["samples"] == 150
    assert numbers["missing_forecasts"] == "zero"
    assert numbers["missing"] == {"ours": 1, HOSTILE: 0}
    assert numbers["settings"]["thresholds"] == [0.5, 0.45, 0.4]
    assert len(numbers["scores"]) == len(scores)
    # A forecast of a certainty is in no sample: the log score is finite.
    assert all(row["value"] is not None for row in numbers["scores"] if row["score"] != "log_score")


def test_what_is_undefined_has_a_note():
    never = verify_forecasts(seeded(methods=("ours",)).assign(observed=0), settings=VerificationSettings(resamples=20))
    page = Page(never.html())
    assert "are left out, with their samples, for every method" in page.text
    assert "n/a" in page.text
    assert "`tss` is undefined because only one of the two outcomes was observed" in page.text
    rows = [row for row in never.as_json()["scores"] if row["score"] == "tss"]
    assert all(row["value"] is None and row["reason"] for row in rows)


def test_an_interval_of_no_width_is_none():
    """Of days that are all alike each resample has the same score, which looked like certainty."""
    alike = seeded(methods=("ours",)).assign(probability=0.25)
    same = verify_forecasts(alike, settings=VerificationSettings(resamples=20))
    assert "TSS 0.000   BSS" in same.as_text()
    assert "0.000 to 0.000" not in same.html()


def test_one_method_has_no_differences():
    html = verify_forecasts(
        seeded(methods=("ours",)), settings=VerificationSettings(thresholds=(0.3,), resamples=20)
    ).html()
    assert 'id="differences"' not in html
    assert "threshold 30 %" in html


def test_scores_stand_in_the_page(result, page):
    row = result.comparison.scores.query("method == 'ours' and threshold == 0.45 and score == 'tss'").iloc[0]
    assert f"{row['value']:.3f}" in page.text
    assert f"{row['lower']:.3f} to {row['upper']:.3f}" in page.text


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install kflare[test]")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium on the PATH")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible_in_a_browser(browser, result, tmp_path, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    path = tmp_path / "report.html"
    path.write_text(result.html())
    context = browser.new_context(color_scheme=scheme, viewport={"width": 400, "height": 800})
    tab = context.new_page()
    asked, said = [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: said.append(message.text))
    tab.goto(path.as_uri())
    violations = axe.Axe().run(tab).response["violations"]
    assert violations == []
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    assert said == []
    # On a small screen the tables scroll, not the page.
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400
    context.close()
