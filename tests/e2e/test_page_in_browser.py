"""The report page as a reader meets it: in a browser, from disk, with mouse, keyboard, phone and printer."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Locator, Page, sync_playwright
from tests.unit.report_schedule.schedules import lease_ends, lost_update

from oversold import schedule_file
from oversold.report import charts
from oversold.report.cells import gather
from oversold.report.page import page

RECORDED = Path(__file__).parents[2] / "fixtures" / "reports" / "bid-burst" / "compare.json"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WCAG_AA = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}


@pytest.fixture(autouse=True, scope="session")
def servers() -> None:
    """Ask for no server: a page is looked at, nothing is run."""


@pytest.fixture(scope="module")
def browser(server_missing: Callable[[str], NoReturn]) -> Iterator[Browser]:
    """Return the system's own Chromium."""
    path = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if path is None:
        server_missing("no Chromium here: install chromium")
    # In a container /dev/shm may be too small for a page.
    options = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=options)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the page of a recorded comparison with charts and two causes; two of its runs are made to fail."""
    folder = tmp_path_factory.mktemp("report")
    for schedule in (lost_update(), lease_ends()):
        below = folder / "explain" / schedule.strategy
        below.mkdir(parents=True)
        schedule_file.write(schedule, below / "replay.jsonl")
    document: dict[str, Any] = json.loads(RECORDED.read_text("utf-8"))
    for run in document["runs"]:
        if run["strategy"] == "row-lock" and run["load"]["users"] == 600:
            run |= {"verdict": "fail", "reasons": ["3 holds were lost."]}
    found = gather(document["runs"])
    figures = {
        "subscription": charts.subscription_bars(document["runs"]),
        "heatmap": charts.heatmap(found),
        "frontier": charts.frontier(found),
    }
    return page.write(folder, document, figures)[0]


class Seen:
    """A page that is open in a browser, and what went wrong or out on it since."""

    def __init__(self, context: BrowserContext, path: Path) -> None:
        self.page: Page = context.new_page()
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda said: self.problems.append(said.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def column(self, column: int) -> list[str]:
        """Return the texts in a column, counted from 1, of the rows that are to be seen."""
        return self.page.locator(f"tr.entry:visible > :nth-child({column})").all_inner_texts()

    def designs(self) -> list[str]:
        """Return the names in the rows that are to be seen."""
        return self.page.locator("tr.entry:visible .opener").all_inner_texts()

    def numbers(self, column: int) -> list[float]:
        """Return what the rows that are to be seen sort by in a column, without those that have no number."""
        cells = self.page.locator(f"tr.entry:visible > :nth-child({column})")
        return [float(said) for said in cells.evaluate_all("all => all.map(it => it.dataset.sort)") if said]

    def head(self, column: int) -> Locator:
        """Return a column's head, counted from 1."""
        return self.page.locator(f"#designs thead th:nth-child({column})")

    def colour(self, selector: str, name: str) -> str:
        """Return a colour of the first element that a selector finds, as the browser paints it."""
        said = self.page.locator(selector).first.evaluate("(it, name) => getComputedStyle(it)[name]", name)
        return str(said)

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the screen."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - screen.width"))


@pytest.fixture
def see(browser: Browser, report: Path) -> Iterator[Callable[..., Seen]]:
    """Return a function that opens the page; its arguments are those of a browser context."""
    contexts: list[BrowserContext] = []

    def opened(path: Path = report, **how: Any) -> Seen:
        contexts.append(browser.new_context(**{"color_scheme": "light", **how}))
        return Seen(contexts[-1], path)

    yield opened
    for context in contexts:
        context.close()


def test_it_opens_from_disk_and_asks_for_nothing(see: Callable[..., Seen], tmp_path: Path, report: Path) -> None:
    """No request but the file's own, nothing on the console, no code but its own; planted ones are noticed."""
    seen = see()
    assert seen.requests == [report.as_uri()]
    assert seen.problems == []
    planted = tmp_path / "planted.html"
    bad = '<main><img src="https://e.example/x.png"><script>document.title = "taken"</script>'
    planted.write_text(report.read_text("utf-8").replace("<main>", bad), "utf-8")
    worse = see(planted)
    assert len([said for said in worse.problems if "Content Security Policy" in said]) == 2
    assert worse.page.title() != "taken"


def test_the_first_screen_answers(see: Callable[..., Seen]) -> None:
    """Without scrolling there are the answer, the proof, and the first rows of the largest load."""
    seen = see(viewport={"width": 1280, "height": 800})
    for selector in ("h1", ".note.proof", ".counts", "tr.entry:visible >> nth=2"):
        box = seen.page.locator(selector).first.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 800
    assert seen.designs()[0] in seen.page.locator("h1").inner_text()
    assert seen.page.locator("#shown").inner_text() == "5 rows at 600 users"


@pytest.mark.parametrize("way", ["click", "keyboard"])
def test_every_column_sorts_by_numbers_both_ways(see: Callable[..., Seen], way: str) -> None:
    """The first push brings the best to the top, the second the worst, and aria-sort says which."""
    seen = see()
    columns = seen.page.locator("#designs thead th").count()
    for column in range(1, columns + 1):
        head = seen.head(column)
        if not head.is_visible():
            continue
        best_first = head.get_attribute("data-first")
        directions = []
        for _ in range(2):
            if way == "click":
                head.locator("button").click()
            else:
                head.locator("button").focus()
                seen.page.keyboard.press("Enter")
            direction = head.get_attribute("aria-sort")
            directions.append(direction)
            if column == 2:
                assert seen.designs() == sorted(seen.designs(), reverse=direction == "descending")
            else:
                found = seen.numbers(column)
                assert found == sorted(found, reverse=direction == "descending")
        first = "descending" if best_first == "high" else "ascending"
        if column > 1:  # the first column is sorted from the beginning
            assert directions[0] == first
        assert set(directions) == {"ascending", "descending"}
        assert seen.page.locator("#designs [aria-sort]").count() == 1
    assert seen.problems == []


def test_rows_without_a_number_come_last_whichever_way(see: Callable[..., Seen]) -> None:
    """The canary sold to nobody in vain, so it has no inversions, and stays below those who have."""
    seen = see()
    for _ in range(2):
        seen.head(10).locator("button").click()
        assert seen.column(10).index("-") == 4


def test_rows_are_chosen_by_load_name_and_verdict(see: Callable[..., Seen]) -> None:
    """The select, the box and the checkboxes each leave the rows that fit, and say how many that are."""
    seen = see()
    shown, name, load = (seen.page.locator(each) for each in ("#shown", "#name", "#load"))
    name.fill("REDIS")
    assert seen.designs() == ["redis-lua"]
    assert shown.inner_text() == "1 of 5 rows at 600 users"
    name.fill("nobody")
    assert seen.designs() == []
    assert seen.page.locator("#nothing").is_visible()
    name.fill("")
    assert not seen.page.locator("#nothing").is_visible()
    seen.page.locator('#verdicts input[value="pass"]').uncheck()
    assert set(seen.designs()) == {"none", "row-lock"}
    assert not seen.head(3).is_visible()
    load.select_option("300 users")
    assert seen.designs() == ["none"]
    load.select_option("all loads")
    assert len(seen.designs()) == 3
    assert seen.head(3).is_visible()
    assert shown.inner_text() == "3 of 10 rows"


def test_a_row_opens_and_closes_and_stays_with_its_design(see: Callable[..., Seen]) -> None:
    """The reasons and the command come below their row, by mouse or keyboard, wherever it is sorted to."""
    seen = see()
    opener = seen.page.locator("tr.entry:visible .opener", has_text="row-lock")
    more = seen.page.locator(f"#{opener.get_attribute('aria-controls')}")
    assert not more.is_visible()
    opener.focus()
    seen.page.keyboard.press("Space")
    assert opener.get_attribute("aria-expanded") == "true"
    assert "3 holds were lost." in more.inner_text()
    seen.head(2).locator("button").click()
    above = more.evaluate("it => it.previousElementSibling.querySelector('.opener').textContent")
    assert above == "row-lock"
    opener.click()
    assert not more.is_visible()
    seen.page.locator("#expand").click()
    assert seen.page.locator("tr.more:visible").count() == 5
    seen.page.locator("#expand").click()
    assert seen.page.locator("tr.more:visible").count() == 0


@pytest.mark.parametrize("clipboard", ["granted", "refused", "missing"])
def test_the_command_is_copied(see: Callable[..., Seen], clipboard: str) -> None:
    """The button brings the whole command to the clipboard, also where the page may not use its interface."""
    permissions = ["clipboard-read", "clipboard-write"]
    seen = see(permissions=permissions)
    if clipboard == "missing":
        seen.page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    if clipboard == "refused":
        seen.page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }")
    seen.page.evaluate("addEventListener('copy', () => { window.copied = getSelection().toString(); })")
    seen.page.locator("tr.entry:visible .opener", has_text="redis-lua").click()
    box = seen.page.locator("tr.more:visible .command")
    box.locator("button").click()
    box.get_by_text("Copied").wait_for()
    if clipboard == "granted":
        copied = seen.page.evaluate("navigator.clipboard.readText()")
    else:
        copied = seen.page.evaluate("window.copied").strip()
    assert copied == box.locator("code").inner_text()
    assert copied.startswith("oversold run bid-burst --strategy redis-lua")
    assert seen.problems == []


def test_the_theme_changes_page_and_charts(see: Callable[..., Seen]) -> None:
    """Dark is dark, whether the system or the button says so: the paper, the ink and the charts."""
    paper, ink = ("body", "backgroundColor"), ("body", "color")
    sheet = ("figure svg path", "fill")
    label = ("figure svg text", "fill")
    schedule = ("svg.schedule text", "fill")

    def colours(seen: Seen) -> list[str]:
        return [seen.colour(*each) for each in (paper, ink, sheet, label, schedule)]

    light, dark = see(), see(color_scheme="dark")
    bright, dim = colours(light), colours(dark)
    assert all(one != other for one, other in zip(bright, dim, strict=True))
    assert bright[0] == bright[2] == "rgb(255, 255, 255)"
    assert dim[0] == dim[2]  # the charts have no paper of their own
    button = light.page.locator("#theme")
    assert button.inner_text() == "Dark theme"
    button.click()
    assert colours(light) == dim
    assert button.inner_text() == "Light theme"
    button.click()
    assert colours(light) == bright
    dark.page.locator("#theme").click()
    assert colours(dark) == bright


def breaches(seen: Seen) -> dict[str, str]:
    """Return what axe finds against WCAG 2.1 AA: rule -> the elements that break it."""
    found = Axe().run(seen.page, options=WCAG_AA).response["violations"]
    return {each["id"]: str([node["html"][:200] for node in each["nodes"]]) for each in found}


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("dark", 360)])
def test_nobody_is_shut_out(see: Callable[..., Seen], scheme: str, width: int) -> None:
    """Axe finds nothing against WCAG 2.1 AA in either theme, with everything open."""
    seen = see(color_scheme=scheme, viewport={"width": width, "height": 800})
    seen.page.locator("#expand").click()
    seen.page.evaluate("document.querySelectorAll('details').forEach((it) => { it.open = true; })")
    assert breaches(seen) == {}


def test_a_breach_is_found(see: Callable[..., Seen]) -> None:
    """A planted pale heading and a planted box without a label do not escape axe."""
    seen = see()
    seen.page.evaluate("() => { document.querySelector('h1').style.color = '#bbb'; }")
    seen.page.evaluate(
        "document.querySelector('#name').parentElement.replaceWith(document.querySelector('#name'))"
    )
    assert breaches(seen).keys() == {"label", "color-contrast"}


def test_a_phone_needs_no_scrolling_sideways(see: Callable[..., Seen]) -> None:
    """At 360 pixels only tables and charts scroll, in their boxes; a heading that is too wide is noticed."""
    seen = see(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    seen.page.locator("#expand").click()
    assert seen.overflow() <= 0
    boxes = seen.page.locator("#table .scroll, figure .scroll")
    assert boxes.count() == 4
    assert seen.page.locator("#why .scroll.wide:visible").count() > 0
    for box in boxes.all():
        assert box.evaluate("it => it.scrollWidth > it.clientWidth && it.tabIndex === 0")
        assert box.evaluate("it => getComputedStyle(it.previousElementSibling).display") == "block"
        assert "gradient" in box.evaluate("it => getComputedStyle(it).maskImage")
        box.evaluate("it => { it.scrollLeft = it.scrollWidth; }")
        seen.page.wait_for_function("it => getComputedStyle(it).maskImage === 'none'", arg=box.element_handle())
    why = seen.page.locator("tr.more:visible .box").first.bounding_box()
    assert why is not None
    assert why["width"] <= 360
    seen.page.evaluate("document.querySelector('h1').style.width = '500px'")
    assert seen.overflow() > 0


def test_only_what_scrolls_says_so(see: Callable[..., Seen]) -> None:
    """On a wide screen nothing scrolls, so no sign for it is shown; without scripts a narrow one shows it."""
    wide = see(viewport={"width": 1280, "height": 800})
    assert not wide.page.locator(".sideways:visible").count()
    plain = see(viewport={"width": 360, "height": 740}, java_script_enabled=False)
    assert plain.page.locator("figure .sideways:visible").count() == 3


def test_print_is_light_whole_and_without_controls(see: Callable[..., Seen]) -> None:
    """On paper it is light whatever the screen is, has no buttons, and every chart begins a page of its own."""
    seen = see(color_scheme="dark")
    seen.page.locator("#theme").click()
    seen.page.locator("#theme").click()  # dark by choice
    seen.page.emulate_media(media="print")
    assert seen.colour("body", "backgroundColor") == "rgb(255, 255, 255)"
    assert seen.colour("figure svg path", "fill") == "rgb(255, 255, 255)"
    for hidden in ("#theme", "#load", "#expand", "nav"):
        assert not seen.page.locator(hidden).is_visible()
    assert seen.page.locator("#shown").inner_text() == "5 rows at 600 users"
    assert seen.page.locator("figure").first.evaluate("it => getComputedStyle(it).breakAfter") == "page"
    seen.page.emulate_media(media="screen")
    assert seen.colour("body", "backgroundColor") != "rgb(255, 255, 255)"


def test_without_scripts_everything_is_there(see: Callable[..., Seen]) -> None:
    """Where no script may run all rows are there with loads and reasons, and no control that does nothing."""
    seen = see(java_script_enabled=False)
    assert seen.page.locator("tr.entry:visible").count() == 10
    assert seen.page.locator("tr.more:visible").count() == 10
    for control in ("#theme", "#load", "#name", "#expand", ".copy"):
        assert not seen.page.locator(control).first.is_visible()


def test_a_hostile_name_stays_a_name(see: Callable[..., Seen], tmp_path: Path) -> None:
    """A strategy whose file is called like a script is shown as it is called, in the table and in the charts."""
    document = json.loads(RECORDED.read_text("utf-8"))
    name = "<img src=x onerror=alert(1)>\"'&満标.py:Über"
    document["runs"] = [{**run, "strategy": name} for run in document["runs"][-2:]]
    figures = {"subscription": charts.subscription_bars(document["runs"])}
    seen = see(page.write(tmp_path, document, figures)[0])
    assert set(seen.designs()) == {name}
    assert seen.page.locator("img").count() == 0
    assert seen.problems == []
