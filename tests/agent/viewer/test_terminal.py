"""Episodes as text for a terminal."""

from dataclasses import replace
from pathlib import Path

import pytest

from stepopsd_agent.viewer import Shown, Source, episode_text, list_text, page_data
from tests.helpers.viewing import HOSTILE, LINE, attempt, with_credit, with_text


def test_list_text_has_a_line_for_each_episode() -> None:
    """Below the table of success; numbers go on over folders."""
    sources = [Source(Path("x"), f"s{k}", [with_credit(attempt(k, won=bool(k)))]) for k in range(2)]
    text = list_text(sources, 10)
    assert "     0  lost         4    1.00" in text and "     1  won          4" in text
    assert "walk_and_open   100.0%" in text


@pytest.mark.parametrize(
    ("ids", "unit"),
    [
        (["stepopsd/SearchQA-v0"], "questions"),
        (["stepopsd/ALFWorld-v0"], "games"),
        (["elsewhere/Its-v0"], "tasks"),
        ([""], "tasks"),
        (["stepopsd/SearchQA-v0", "stepopsd/ALFWorld-v0"], "tasks"),
    ],
)
def test_list_text_counts_in_the_unit_of_the_environment(ids: list[str], unit: str) -> None:
    """Not in games whatever was played."""
    shown = [Shown(replace(attempt(k), env_spec={"id": name, "kwargs": {}})) for k, name in enumerate(ids)]
    heading = list_text([Source(Path("x"), "x", shown)], 5).splitlines()[1]
    assert heading.startswith("task type") and heading.split()[-1] == unit


def test_episode_text_shows_credit_and_truth_as_bars() -> None:
    """Blame to the left, credit to the right, on the scale of the episode."""
    text = episode_text(with_credit(attempt(won=True), "one", "two"), ["one", "two"])
    assert "  1 > go right\n" in text and "5 to the goal" in text and "invalid" in text
    assert "      ████████|         -1.500  one" in text
    assert "              |████████ +1.500  two" in text
    assert "+3.000  truth" in text


def test_viewer_says_why_a_search_found_nothing() -> None:
    """In the terminal and on the page, which has it as the last field of a step."""
    first, second, *others = attempt().steps
    noted = replace(second, info={**second.info, "search_note": "no passage has 'xyzzy'"})
    shown = Shown(replace(attempt(), steps=(first, noted, *others)))
    assert episode_text(shown, []).count("nothing found: no passage has 'xyzzy'\n") == 1
    (found,) = page_data([Source(Path("x"), "x", [shown])])["episodes"]
    assert [step[8] for step in found["steps"]] == ["", "no passage has 'xyzzy'", "", "", ""]


@pytest.mark.parametrize("text", [*HOSTILE, LINE])
def test_episode_text_gives_a_terminal_nothing_to_obey(text: str) -> None:
    """Control characters are spelled out, and a very long line is cut."""
    shown = with_credit(with_text(attempt(), text), "a")
    for printed in (episode_text(shown, ["a"]), list_text([Source(Path("x"), text, [shown])], 5)):
        assert not {"\x1b", "\x00", "\u202e", "\u2066", "\u2028", "\r"} & set(printed)
        assert not set("\u200b\u00ad\u2060\u180e\ufff9\U000e0041") & set(printed)
        assert len(printed) < 200_000
        printed.encode()
