"""The site in a browser: headless Chromium opens it as a folder and from a web server, as forecasters do."""

import functools
import http.server
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kflare.operations.forecast import CLIMATOLOGY, Forecast, InputRecord, Outage, Probability
from kflare.operations.publish.pages import PastCycle, SiteData
from kflare.operations.publish.site import write_site
from tests.operations.toys import combined

pytestmark = pytest.mark.slow

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

Make = Callable[..., Forecast]
PAGES = (
    "index.html",
    "wall.html",
    "recent.html",
    "verification.html",
    "about.html",
    "archive/index.html",
    "archive/2014-01-07.html",
)
DESKTOP, PHONE, WALL = (1440, 900), (360, 740), (3840, 2160)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        # As root in a container Chromium has no sandbox of its own; the pages are ours.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page with all that it complained of and asked for."""

    page: Any
    root: str
    faults: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def go(self, name: str) -> Any:
        self.page.goto(f"{self.root}/{name}")
        return self.page

    def check(self) -> None:
        """No error of any kind, and no request that leaves the site."""
        assert self.faults == []
        assert [url for url in self.asked if not url.startswith((self.root, "data:"))] == []


@pytest.fixture
def visit(browser: Any, make_forecast: Make) -> Iterator[Callable[..., Visit]]:
    contexts = []

    def open_(root: str | Path, *, size: tuple[int, int] = DESKTOP, after: timedelta | None = None,
              scripts: bool = True, **options: Any) -> Visit:  # fmt: skip
        """Open a site `after` its issue, 40 min by default: the browser's clock is ours."""
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, java_script_enabled=scripts, **options
        )
        contexts.append(context)
        page = context.new_page()
        visit = Visit(page, root.resolve().as_uri() if isinstance(root, Path) else root)
        page.on("console", lambda message: visit.faults.append(f"console {message.type}: {message.text}"))
        page.on("pageerror", lambda error: visit.faults.append(f"error: {error}"))
        page.on("requestfailed", lambda request: visit.faults.append(f"failed: {request.url}"))
        page.on("request", lambda request: visit.asked.append(request.url))
        page.on("dialog", lambda dialog: visit.faults.append(f"dialog: {dialog.message}"))
        page.set_default_timeout(10_000)
        if scripts:
            page.clock.install(time=make_forecast().issue + (timedelta(minutes=40) if after is None else after))
        return visit

    yield open_
    for context in contexts:
        context.close()


def danger_of(data: SiteData) -> SiteData:
    """The site of a day with a strong region and an older magnetogram."""
    forecast = data.current
    assert isinstance(forecast, Forecast)
    strong = {"C": Probability(0.97, 0.91, 0.85, 0.95), "M": Probability(0.86, 0.38, 0.21, 0.58)}
    regions = (*forecast.regions[:2], replace(forecast.regions[2], probability=strong), *forecast.regions[3:])
    old = InputRecord("AIA 1600", "", None, None, None, "no image within 5 h", "missing")
    return replace(
        data,
        current=replace(
            forecast,
            regions=regions,
            full_disk=combined(regions),
            rung="imputed",
            rung_reason="AIA 1600 is missing: 4 of 79 features imputed",
            inputs=(*forecast.inputs, old),
        ),
    )


def no_sunspot_of(data: SiteData) -> SiteData:
    """The site of a spotless disk."""
    assert isinstance(data.current, Forecast)
    one_percent = {name: Probability(0.01, 0.01) for name in ("C", "M")}
    remark = "No active region above 140 G: no flare is forecast, with a probability of 1 %."
    return replace(data, current=replace(data.current, regions=(), full_disk=one_percent, remarks=(remark,)))


def outage_of(data: SiteData) -> SiteData:
    """The site of a cycle that found no data."""
    assert isinstance(data.current, Forecast)
    missing = InputRecord("HMI magnetogram", "hmi.M_720s_nrt", None, None, None, "JSOC did not answer", "missing")
    late = InputRecord("GOES flare list", "edited_events.json", data.current.issue, 0.0, None, "", "ok")
    outage = Outage(
        data.current.cycle_id, data.current.issue, "no magnetogram from 02:00 back to 22:00 UTC",
        (missing, late), data.current.next_issue,
    )  # fmt: skip
    return replace(data, current=outage, pictures=())


def climatology_of(data: SiteData) -> SiteData:
    """The site of a cycle that saw nothing of the Sun."""
    assert isinstance(data.current, Forecast)
    rates = {"C": Probability(None, 0.31), "M": Probability(None, 0.046)}
    bare = replace(data.current, regions=(), full_disk=rates, cnn={}, data_time=None, rung=CLIMATOLOGY, models=(),
                   rung_reason="no image and no flare list", inputs=(), remarks=())  # fmt: skip
    return replace(data, current=bare, pictures=())


KINDS: dict[str, Callable[[SiteData], SiteData]] = {
    "ordinary": lambda data: data,
    "danger": danger_of,
    "no-sunspot": no_sunspot_of,
    "no-data": outage_of,
    "climatology": climatology_of,
}


@pytest.fixture(scope="module")
def sites(site_data: SiteData, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sites")
    short = replace(site_data, past=site_data.past[:2], verification=())
    return {
        kind: write_site(make(site_data if kind == "ordinary" else short), folder / kind)
        for kind, make in KINDS.items()
    }


@pytest.fixture
def server(sites: dict[str, Path]) -> Iterator[str]:
    """A plain web server of the ordinary site."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(sites["ordinary"]))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def violations(page: Any) -> list[str]:
    """What axe-core finds, of any impact."""
    # `preload` would read the style sheet once more, which a folder opened as a file refuses.
    found = axe.Axe().run(page, options={"preload": False}).response["violations"]
    return [
        f"{one['id']} ({one['impact']}): {node['html'][:160]} {node.get('failureSummary', '')}"
        for one in found
        for node in one["nodes"]
    ]


@pytest.mark.parametrize(("scheme", "pages"), [("light", PAGES), ("dark", PAGES[:3])])
def test_every_page_is_accessible_and_silent_as_a_folder(
    visit: Callable[..., Visit], sites: dict[str, Path], scheme: str, pages: tuple[str, ...]
) -> None:
    opened = visit(sites["ordinary"], color_scheme=scheme)
    for name in pages:
        assert violations(opened.go(name)) == [], name
    opened.check()


def test_every_kind_of_day_is_accessible_and_has_its_own_mark(
    visit: Callable[..., Visit], sites: dict[str, Path]
) -> None:
    shapes = set()
    for kind, words, scheme in (
        ("danger", "Danger flares", "dark"),
        ("no-sunspot", "Quiet", "light"),
        ("no-data", "No forecast", "light"),
    ):
        # Seven hours after the issue the alarm is on, which is to be readable too.
        opened = visit(sites[kind], after=timedelta(hours=7), color_scheme=scheme)
        page = opened.go("index.html")
        assert page.locator("h1").inner_text() == words
        shapes.add(page.locator(".mark .mark-icon").first.inner_html())
        assert violations(page) == [], kind
        opened.check()
    assert len(shapes) == 3  # not told apart by colour alone


def test_a_forecast_without_a_sun_or_a_network_says_so(visit: Callable[..., Visit], sites: dict[str, Path]) -> None:
    opened = visit(sites["climatology"])
    text = opened.go("index.html").locator("main").inner_text()
    assert "No picture of the Sun at this time." in text
    assert "climatology no image and no flare list" in text.replace("\n", " ")
    assert "Decided on statistics alone" in text
    assert "Network's score" not in text.partition("Each active region")[0]
    opened.check()


@pytest.mark.parametrize(("size", "pages"), [(PHONE, PAGES), (WALL, PAGES[:2])])
def test_no_page_is_wider_than_its_screen(
    visit: Callable[..., Visit], sites: dict[str, Path], size: tuple[int, int], pages: tuple[str, ...]
) -> None:
    opened = visit(sites["ordinary"], size=size)
    for name in pages:
        page = opened.go(name)
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0], name
        small = page.evaluate(
            "[...document.querySelectorAll('a, button, label')].filter(e => e.offsetParent && e.clientHeight &&"
            " getComputedStyle(e).display != 'inline' && e.getBoundingClientRect().height < 24).length"
        )
        assert small == 0, name  # WCAG 2.2, target size
    opened.check()


@pytest.mark.parametrize("kind", ["ordinary", "no-data"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_table_is_cut_off_on_a_phone(
    visit: Callable[..., Visit], sites: dict[str, Path], kind: str, scheme: str
) -> None:
    """Scores, outcomes and remarks had been out of sight, with nothing to say that a table scrolls."""
    opened = visit(sites[kind], size=(390, 844), color_scheme=scheme)
    stacked = 0
    for name in PAGES:
        page = opened.go(name)
        page.locator("details").evaluate_all("all => all.forEach(e => e.open = true)")
        page.wait_for_timeout(100)  # they tell that they are open later
        tables = page.locator(".scroll:has(> table)")
        assert tables.evaluate_all("all => all.filter(e => e.scrollWidth > e.clientWidth).map(e => e.ariaLabel)") == []
        stacked += page.locator("table.stacked").count()
        unnamed = "all => all.filter(e => e.colSpan == 1 && !e.dataset.head).map(e => e.textContent)"
        assert page.locator("table.stacked tbody :is(th, td)").evaluate_all(unnamed) == []
        assert violations(page) == [], name
    assert stacked > 2
    page.set_viewport_size({"width": 1280, "height": 900})
    page.wait_for_timeout(100)
    assert page.locator("table.stacked").count() == 0
    opened.check()


@pytest.mark.parametrize("kind", ["ordinary", "no-data"])
def test_nothing_is_cut_off_on_a_desk(visit: Callable[..., Visit], sites: dict[str, Path], kind: str) -> None:
    opened = visit(sites[kind], size=(1280, 900))
    for name in PAGES:
        page = opened.go(name)
        assert page.locator("details").evaluate_all("all => all.forEach(e => e.open = true)") is None
        wide = "all => all.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.ariaLabel)"
        assert page.locator(".scroll").evaluate_all(wide) == [], name
        outside = """all => all.filter(e => {
            const at = e.getBoundingClientRect(), chart = e.ownerSVGElement.getBoundingClientRect();
            return at.width && (at.left < chart.left - 1 || at.right > chart.right + 1 || at.bottom > chart.bottom + 1);
        }).map(e => e.textContent)"""
        assert page.locator(".strip text").evaluate_all(outside) == [], name
    opened.check()


@pytest.mark.parametrize("size", [(1280, 800), (1920, 1080), WALL])
def test_the_wall_display_is_one_page(
    visit: Callable[..., Visit], sites: dict[str, Path], size: tuple[int, int]
) -> None:
    for kind in KINDS:
        opened = visit(sites[kind], size=size)
        page = opened.go("wall.html")
        assert page.evaluate("document.documentElement.scrollHeight") <= size[1], kind
        cut = "all => all.filter(e => e.scrollHeight > e.clientHeight + 1).map(e => e.className)"
        assert page.locator("main > section").evaluate_all(cut) == [], kind
        opened.check()


def test_the_wall_takes_the_next_forecast_also_from_a_folder(
    visit: Callable[..., Visit], sites: dict[str, Path]
) -> None:
    opened = visit(sites["ordinary"], after=timedelta(hours=5, minutes=50))
    page = opened.go("wall.html")
    page.evaluate("window.before = true")
    page.clock.fast_forward("00:05:00")
    assert page.evaluate("window.before") is True  # none is due
    with page.expect_navigation():
        page.clock.fast_forward("00:10:00")
    assert page.evaluate("window.before") is None
    opened.check()


def test_the_last_forecast_in_place_of_an_outage_grows_old(visit: Callable[..., Visit], sites: dict[str, Path]) -> None:
    # The last forecast was of 21:00, its window is over at 21:00 of the next day: 18 h after the outage.
    opened = visit(sites["no-data"])
    for name in ("index.html", "wall.html"):
        page = opened.go(name)
        page.clock.set_fixed_time(datetime(2014, 1, 8, 3, 40, tzinfo=UTC))
        page.reload()
        assert page.locator("#last-age").inner_text() == "(now 6 h 40 min old)"
        assert page.locator("#last").get_by_text("%").first.is_visible()
        page.clock.set_fixed_time(datetime(2014, 1, 8, 21, 1, tzinfo=UTC))
        page.reload()
        assert page.locator("#last-age").inner_text() == "(now 24 h 1 min old: its window is over)"
        assert not page.locator("#last").get_by_text("%").first.is_visible()
    opened.check()


def test_every_page_is_silent_on_a_web_server_and_the_menu_leads_round(
    visit: Callable[..., Visit], server: str
) -> None:
    opened = visit(server)
    page = opened.go("index.html")
    for label in (
        "Last days",
        "Verification",
        "Archive",
        "2014-01-07",
        "What the numbers mean",
        "Forecast",
        "Wall display",
    ):
        page.get_by_role("link", name=label, exact=True).first.click()
        page.wait_for_load_state()
        assert page.locator("main").inner_text().strip()
    page.get_by_role("link", name="Solar flare forecast").click()  # the wall has no menu
    assert page.get_by_role("link", name="Forecast", exact=True).get_attribute("aria-current") == "page"
    opened.check()


def test_the_picture_can_be_chosen_and_overlaid(visit: Callable[..., Visit], sites: dict[str, Path]) -> None:
    opened = visit(sites["ordinary"])
    page = opened.go("index.html")

    def shown() -> list[str]:
        return page.eval_on_selector_all(
            "#sun > :not([hidden])", "all => all.filter(e => e.getBoundingClientRect().width).map(e => e.dataset.layer)"
        )

    assert shown() == ["hmi-magnetogram", "boxes"]
    page.get_by_label("AIA 131 Å").check()
    assert shown() == ["aia-131", "boxes"]
    assert page.get_by_text("AIA 131 Å: 01:24 UTC").is_visible()
    page.get_by_label("Grad-CAM, ≥ M1.0").check()
    assert shown() == ["aia-131", "grad-cam-m", "boxes"]
    page.get_by_label("Regions", exact=True).uncheck()
    assert shown() == ["aia-131", "grad-cam-m"]
    page.get_by_label("Grad-CAM, ≥ M1.0").uncheck()
    page.get_by_label("HMI magnetogram").check()
    assert shown() == ["hmi-magnetogram"]
    # All layers lie exactly on each other, and each picture has been loaded.
    page.get_by_label("Regions", exact=True).check()
    page.get_by_label("Grad-CAM, ≥ M1.0").check()
    boxes = page.eval_on_selector_all(
        "#sun > :not([hidden])",
        "all => all.map(e => { const r = e.getBoundingClientRect(); return [r.x, r.y, r.width] })",
    )
    assert len({tuple(box) for box in boxes}) == 1
    assert page.eval_on_selector_all("#sun img", "all => all.every(e => e.complete && e.naturalWidth > 0)")
    opened.check()


def test_a_box_leads_to_its_region_and_lights_it(visit: Callable[..., Visit], sites: dict[str, Path]) -> None:
    opened = visit(sites["ordinary"])
    page = opened.go("index.html")
    box = page.get_by_role("link", name="Region 3, no NOAA number")
    box.hover()
    assert "lit" in page.locator("#region-3").get_attribute("class")
    box.click()
    assert page.url.endswith("#region-3")
    assert page.locator("#region-3").is_visible()
    assert "near the limb" in page.get_by_role("link", name="Region 1,").get_attribute("aria-label")
    opened.check()


def test_boxes_lie_where_the_forecast_says(
    visit: Callable[..., Visit], sites: dict[str, Path], site_data: SiteData
) -> None:
    opened = visit(sites["ordinary"])
    page = opened.go("index.html")
    sun = page.locator("#sun").bounding_box()
    for region in site_data.current.regions:
        x0, y0, _, _ = region.box
        at = page.locator(f".boxes a[data-region='{region.number}'] .front").bounding_box()
        # The line is 2.5 pixels wide, half of it outside.
        assert at["x"] == pytest.approx(sun["x"] + x0 * sun["width"], abs=2.5)
        assert at["y"] == pytest.approx(sun["y"] + y0 * sun["height"], abs=2.5)


def test_bars_are_as_long_as_their_probability(
    visit: Callable[..., Visit], sites: dict[str, Path], site_data: SiteData
) -> None:
    page = visit(sites["ordinary"]).go("index.html")
    card = page.locator("#region-2")
    p = site_data.current.regions[1].probability["C"]
    for at, expected in enumerate((p.calibrated, p.network)):  # the calibrated first
        bar = card.locator(".chance-C .bar").nth(at)
        track, fill = (bar.locator(f".{name}").bounding_box()["width"] for name in ("track", "fill"))
        assert fill / track == pytest.approx(expected, abs=0.01)
    assert card.locator(".chance").count() == 2


def test_everything_works_by_keyboard(visit: Callable[..., Visit], sites: dict[str, Path]) -> None:
    opened = visit(sites["ordinary"])
    page = opened.go("index.html")
    press = page.keyboard.press
    press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "What followed each mark"
    press("Tab")
    for _ in range(page.get_by_text("why the disk differs").count()):
        assert page.evaluate("document.activeElement.textContent") == "why the disk differs"
        press("Tab")
    assert page.evaluate("document.activeElement.value") == "hmi-magnetogram"
    press("ArrowDown")
    assert page.locator("img[data-layer='aia-131']").is_visible()
    assert page.locator("img[data-layer='hmi-magnetogram']").is_hidden()
    press("Tab")
    press("Space")
    assert page.locator(".boxes").is_hidden()
    press("Space")
    press("Tab")
    press("Tab")
    assert page.evaluate("document.activeElement.dataset.region") == "1"
    press("Enter")
    assert page.url.endswith("#region-1")
    opened.check()


def test_colours_can_be_chosen_and_stay_chosen(visit: Callable[..., Visit], server: str) -> None:
    opened = visit(server, color_scheme="light")
    page = opened.go("index.html")

    def dark() -> bool:
        return page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"

    assert not dark()
    page.get_by_role("button", name="Use dark colours").click()
    assert dark()
    opened.go("about.html")
    assert dark()
    page.get_by_role("button", name="Use light colours").click()
    assert not dark()
    opened.check()


def test_the_page_itself_says_when_it_is_out_of_date(visit: Callable[..., Visit], sites: dict[str, Path]) -> None:
    # Issued 03:00, next due 09:00, window until 03:00 of the next day.
    opened = visit(sites["ordinary"])
    page = opened.go("index.html")
    issue = datetime(2014, 1, 8, 3, tzinfo=UTC)
    for after, words in (
        (timedelta(minutes=1), ""),
        (timedelta(hours=6, minutes=29), ""),
        (timedelta(hours=6, minutes=31), "Out of date: this page is of 2014-01-08 03:00 UTC"),
        (timedelta(hours=7), "was due at 2014-01-08 09:00 UTC, 1 h 0 min ago"),
        (timedelta(hours=25), "Its window ended at 2014-01-09 03:00 UTC"),
        (timedelta(days=40), "39 days 18 h ago"),
        (timedelta(hours=-1), "clock is wrong"),
    ):
        page.clock.set_fixed_time(issue + after)
        page.reload()
        alarm = page.get_by_role("alert")
        assert alarm.count() == (1 if words else 0), after
        assert not words or words in alarm.inner_text()
        # An old forecast loses the colour of its mark: it must not look like an all-clear.
        assert page.locator("html.stale").count() == alarm.count()
    page.clock.set_fixed_time(issue + timedelta(hours=7))
    opened.go("recent.html")
    assert "Out of date" in page.get_by_role("alert").inner_text()
    opened.check()


def test_a_page_left_open_grows_old_before_the_readers_eyes(
    visit: Callable[..., Visit], sites: dict[str, Path]
) -> None:
    opened = visit(sites["ordinary"], after=timedelta(minutes=40, seconds=30))
    page = opened.go("index.html")
    assert page.locator("#countdown").inner_text() == "(in 5 h 19 min)"
    assert page.locator("#age").inner_text() == "(now 1 h 40 min old)"
    assert page.get_by_role("alert").count() == 0
    page.clock.fast_forward("05:55:00")
    assert page.locator("#countdown").inner_text() == "(due)"
    assert page.locator("#age").inner_text() == "(now 7 h 35 min old)"
    assert "Out of date" in page.get_by_role("alert").inner_text()
    assert page.locator("#clock").inner_text() == "2014-01-08 09:35 UTC"
    opened.check()


def test_an_outage_grows_old_too(visit: Callable[..., Visit], sites: dict[str, Path]) -> None:
    opened = visit(sites["no-data"], after=timedelta(hours=8))
    page = opened.go("index.html")
    assert page.get_by_role("heading", name="No forecast").is_visible()
    assert "Out of date" in page.get_by_role("alert").inner_text()
    opened.check()


def test_a_page_on_a_wall_takes_the_next_forecast_by_itself(
    visit: Callable[..., Visit], server: str, sites: dict[str, Path], site_data: SiteData, make_forecast: Make
) -> None:
    opened = visit(server, after=timedelta(hours=6, minutes=5))
    page = opened.go("index.html")
    page.clock.fast_forward("00:02:10")
    assert page.locator("body").get_attribute("data-issue") == "2014-01-08T03:00:00Z"  # nothing newer yet
    newer = make_forecast(make_forecast().next_issue)
    write_site(
        replace(site_data, current=newer, past=(PastCycle(site_data.current), *site_data.past)), sites["ordinary"]
    )
    try:
        page.clock.fast_forward("00:02:10")
        page.wait_for_selector("body[data-issue='2014-01-08T09:00:00Z']")
    finally:
        write_site(site_data, sites["ordinary"])
    opened.check()


def test_without_scripts_the_forecast_is_there_with_a_warning(
    visit: Callable[..., Visit], sites: dict[str, Path]
) -> None:
    opened = visit(sites["ordinary"], scripts=False)
    page = opened.go("index.html")
    assert "after 2014-01-08 09:00 UTC look for a newer forecast" in page.locator("noscript").inner_text()
    assert page.locator("#sun img").first.is_visible()
    assert page.locator(".boxes .box").count() == 4
    assert not page.locator("#theme").is_visible()


def test_hostile_text_does_nothing(
    visit: Callable[..., Visit], site_data: SiteData, make_forecast: Make, tmp_path: Path
) -> None:
    attack = "\"'><script>alert(1)</script><img src=x onerror=alert(1)><svg onload=alert(1)>javascript:alert(1)"
    region = replace(make_forecast().regions[0], region=attack, remarks=(attack,), recent_flares=(attack,))
    record = InputRecord(attack, attack, None, None, None, attack, "degraded")
    forecast = make_forecast(
        cycle_id=attack, regions=(region,), inputs=(record,), remarks=(attack,), rung_reason=attack
    )
    older = Outage("x" + attack, forecast.issue - timedelta(hours=6), attack)
    picture = replace(site_data.pictures[0], label=attack, note=attack)
    data = SiteData(forecast, (picture,), (PastCycle(older),), title=attack)
    opened = visit(write_site(data, tmp_path / "site"))
    for name in ("index.html", "recent.html", "archive/2014-01-08.html"):
        page = opened.go(name)
        assert page.get_by_text("<script>alert(1)</script>").count() > 0
        assert page.locator("img[src=x], svg[onload]").count() == 0
        page.wait_for_timeout(50)
    opened.check()


def test_a_script_that_slipped_in_would_not_run(visit: Callable[..., Visit], sites: dict[str, Path]) -> None:
    # The second line of defence: the page's own policy forbids what is inline.
    opened = visit(sites["ordinary"])
    page = opened.go("about.html")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=data:, onerror=window.owned=1>')")
    page.wait_for_timeout(100)
    assert page.evaluate("window.owned") is None
    assert any("Content Security Policy" in fault for fault in opened.faults)
