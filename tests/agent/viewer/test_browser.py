"""The page in a real browser: clicks, keys, filters, widths, and text that would like to be run."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stepopsd_agent.viewer import Shown, Source
from tests.helpers.viewing import HOSTILE, LINE, attempt, with_credit, with_text, write_page

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATH = next((path for name in BROWSERS if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(PATH is None, reason=f"needs one of {', '.join(BROWSERS)} on the PATH")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser for all tests."""
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=PATH, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """Open a page of sources; at the end nothing was complained of, and nothing of a record was run."""
    complaints: list[str] = []
    pages: list[Any] = []

    def open_page(shown: list[Shown], methods: tuple[str, ...] = (), width: int = 1200, **source: Any) -> Any:
        path = write_page(tmp_path / "view.html", [Source(Path("x"), "run a", shown, **source)], methods)
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.append(request.url) if pages else None)
        page.goto(path.as_uri())
        pages.append(page)
        return page

    yield open_page
    assert complaints == []
    for page in pages:
        assert page.evaluate("window.hacked") is None
        page.close()


def many(count: int = 40) -> list[Shown]:
    """Episodes of two types, every third won."""
    kinds = ("walk_and_open", "look_around")
    return [
        with_credit(attempt(k, won=k % 3 == 0, kind=kinds[k % 2]), "even", "uneven") for k in range(count)
    ]


def test_browser_filters_and_searches(opened: Any) -> None:
    """By outcome, type and words; an empty list says so."""
    page = opened(many())
    count = page.locator("#count")
    assert count.inner_text() == "40 episodes, 35.0 % won"
    page.click("[data-outcome=won]")
    assert count.inner_text() == "14 episodes, 100.0 % won"
    page.select_option("#by-type", "look_around")
    assert count.inner_text() == "7 episodes, 100.0 % won"
    page.fill("#search", "door 21")
    sync_api.expect(count).to_have_text("1 episode, 100.0 % won")
    page.fill("#search", "at 4 of 21.")  # stands in the transcript alone
    sync_api.expect(count).to_have_text("1 episode, 100.0 % won")
    page.fill("#search", "nowhere")
    sync_api.expect(count).to_have_text("no episode is like that")


def test_browser_shows_credit_of_steps_and_tokens_beside_the_truth(opened: Any) -> None:
    """Coloured by sign; two methods and the truth; tokens where they differ, with the gap on hover."""
    page = opened(many(), ("even", "uneven"))
    values = page.locator("li[data-step='1'] .value")
    assert values.all_inner_texts() == [
        "even\n\N{MINUS SIGN}1.50",
        "uneven\n\N{MINUS SIGN}1.50",
        "truth\n\N{MINUS SIGN}1",
    ]
    assert "minus" in values.first.get_attribute("class")
    assert (
        page.locator(".track").count() == 3
        and page.locator(".track-note").first.inner_text() == "100 % right"
    )
    assert page.locator("li[data-step='2'] .chip").all_inner_texts() == ["invalid", "reward 0.2", "5 → 4"]
    token = page.locator("li[data-step='1'] .token").nth(2)
    assert "uneven \N{MINUS SIGN}1.0000" in token.get_attribute("title")
    assert "teacher \N{MINUS SIGN} student \N{MINUS SIGN}0.500 nats" in token.get_attribute("title")
    page.locator(".track button[data-step='3']").first.click()
    assert page.locator("li.current").get_attribute("data-step") == "3"


def test_browser_obeys_keys(opened: Any) -> None:
    """Through episodes and steps, to the search and back, other views, help, light and dark."""
    page = opened(many(), rows=[{"update": k, "train/return": k / 9} for k in range(9)])
    for key in "jjk":
        page.keyboard.press(key)
    assert page.locator(".row[aria-selected=true]").get_attribute("data-place") == "1"
    page.keyboard.press("ArrowRight")
    assert page.locator("li.current").get_attribute("data-step") == "1"
    page.keyboard.press("/")
    page.keyboard.type("jjj")
    assert page.input_value("#search") == "jjj"
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    assert page.locator("#curves .curve").is_visible()
    page.keyboard.press("3")
    assert "recorded episodes" in page.locator("#tables").inner_text()
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.theme") in ("dark", "light")


def test_browser_counts_updates_in_whole_numbers_and_one_task_as_one(opened: Any) -> None:
    """There is no update 0.5; and a number stays on one line, however many columns a table has."""
    table = {"success": 0.25, "n": 32, "tasks": 1, "ci95": [0.1, 0.5]}
    rows = [{"update": k, "train/return": k} for k in range(3)]
    page = opened(many(1), rows=rows, tables={"played": table})
    page.keyboard.press("2")
    assert page.locator("#curves [text-anchor=middle]").all_text_contents() == ["0", "1", "2"]
    page.keyboard.press("3")
    cells = page.locator("#tables td")
    assert cells.all_inner_texts()[:3:2] == ["25.0 %", "32 at 1 task"]
    assert {cells.nth(k).evaluate("cell => getComputedStyle(cell).whiteSpace") for k in range(3)} == {
        "nowrap"
    }


@pytest.mark.parametrize("width", [320, 360, 380])
def test_browser_on_a_phone_shows_list_or_episode(opened: Any, width: int) -> None:
    """Nothing is wider than the screen, as narrow as WCAG's 1.4.10 asks for; the way back is there."""
    page = opened(many(), ("even", "uneven"), width=width)
    assert page.locator("#list").is_visible() and not page.locator("#episode").is_visible()
    page.click(".row >> nth=1")
    assert page.locator("#episode").is_visible() and not page.locator("#list").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#episode").evaluate("node => node.scrollWidth <= node.clientWidth")
    page.click(".back")
    assert page.locator("#list").is_visible()


@pytest.mark.parametrize("text", [*HOSTILE, LINE], ids=range(len(HOSTILE) + 1))
def test_browser_shows_hostile_text_and_runs_none(opened: Any, text: str) -> None:
    """In goal, type, task, observation, response and command; a very long line by its beginning."""
    page = opened([with_credit(with_text(attempt(), text), "a")], ("a",))
    shown = page.locator("li[data-step='1'] .observation")
    if text == LINE:
        assert len(shown.inner_text()) < 10_000
        shown.locator(".more").click()
        assert len(shown.inner_text()) == len(text)
    elif text.isprintable() and text.isascii():
        assert shown.inner_text() == text
    elif "\u202e" in text:
        assert shown.locator(".mark").all_inner_texts() == ["U+202E", "U+2066", "U+2028", "U+0000", "U+001B"]
    elif "unseen" in text:
        hidden = ["U+200B", "U+00AD", "U+2060", "U+180E", "U+FFF9", "U+E0041"]
        assert shown.locator(".mark").all_inner_texts() == hidden
        assert shown.inner_text().endswith("U+E0041.")
    assert page.locator("#episode script, #episode img, #list script, #list img").count() == 0


def test_browser_opens_a_thousand_episodes_within_two_seconds(opened: Any) -> None:
    """Of 30 steps each; only the rows in sight are made."""
    shown = [with_credit(attempt(k, won=k % 2 == 0, steps=30), "a", "b") for k in range(1000)]
    began = time.perf_counter()
    page = opened(shown, ("a",))
    page.wait_for_selector(".row")
    assert time.perf_counter() - began < 60
    ready = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
    assert page.evaluate(ready) < 2000
    assert page.locator(".row").count() < 60
