"""The page of recorded episodes: what is embedded, and that no text of a record can leave its place."""

import json
import re
from pathlib import Path

import pytest

from stepopsd_agent.viewer import Shown, Source, is_page, page, page_data, read_source, source_labels
from stepopsd_agent.viewer.content import curves, thinned
from stepopsd_agent.viewer.html import embedded, script_text
from tests.helpers.text_env import record
from tests.helpers.viewing import HOSTILE, attempt, with_credit, with_text, write_page


def test_embedded_data_hold_no_character_that_html_reads() -> None:
    """And are the same JSON as before."""
    data = {"text": [*HOSTILE, "\u2028\u2029"]}
    text = embedded(data)
    assert not set(text) & set("<>&") and text.isascii()
    assert json.loads(text) == data


@pytest.mark.parametrize("text", HOSTILE)
def test_page_has_two_scripts_whatever_the_records_say(text: str) -> None:
    """The data and the page's own, each closed once; a placeholder in a record is no placeholder."""
    shown = with_credit(with_text(attempt(), text), "a")
    html = page(page_data([Source(Path("x"), text, [shown])], ["a"]))
    assert html.lower().count("<script") == html.lower().count("</script") == 2
    (found,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', html)
    assert json.loads(found)["episodes"][0]["steps"][1][0] == text


def test_page_script_makes_no_markup_of_text() -> None:
    """No way from a text to elements or code stands in it, and nothing is fetched."""
    script = script_text()
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacent",
        "document.write",
        "eval(",
        "Function(",
        "DOMParser",
    ):
        assert word not in script
    assert "fetch(" not in script and "</script" not in script and "XMLHttp" not in script


def test_page_data_keep_tokens_where_they_tell_more_than_the_step() -> None:
    """A credit that is the same for all tokens of a step is kept once; a gap brings the tokens along."""
    shown = with_credit(attempt(won=True), "even", "uneven")
    (found,) = page_data([Source(Path("x"), "x", [shown])], ["even", "uneven"])["episodes"]
    assert found["credit"] == [[-1.5, -0.5, 0.5, 1.5]] * 2
    assert found["tokens"][0]["credit"] == [None, [-2.0, -1.5, -1.0]]
    assert found["tokens"][0]["gap"] == [0.0, 0.5, -0.5] and found["tokens"][0]["text"] == ["#0", "#1", "#2"]
    (even,) = page_data([Source(Path("x"), "x", [shown])], ["even"])["episodes"]
    assert even["tokens"] is None


def test_page_data_hold_the_truth_where_distances_are_recorded() -> None:
    """One step away from the goal, then towards it; an episode that failed has none."""
    (found,) = page_data([Source(Path("x"), "x", [Shown(attempt(won=True))])])["episodes"]
    assert found["truth"] == [-1.0, 1.0, 1.0, 3.0] and found["outcome"] == "won"
    assert [step[4] for step in found["steps"]] == [True, True, False, True, True]


def test_thinned_episodes_come_in_whole_groups() -> None:
    """Evenly over the groups, since most methods compare the members of one."""
    shown = [Shown(attempt(number)) for number in range(64)]
    for place, one in enumerate(shown):
        object.__setattr__(one.episode, "group", place // 8)
    found = thinned(shown, 20)
    assert [one.episode.group for one in found] == [0] * 8 + [4] * 8
    assert thinned(shown, 64) == shown


def test_curves_have_intervals_where_success_has() -> None:
    """What is no number is left out."""
    rows = [
        {"update": 0, "eval": {"success": 0.5, "ci95": [0.2, 0.8], "n": 4}},
        {"update": 1, "train/return": 0.25, "update/kl": "NaN", "credit/share": None},
        {"update": 2, "eval": {"success": 0.0, "ci95": [0.0, 1.0], "n": 0, "errors": 4}},  # none to count
    ]
    assert curves(rows) == {"eval/success": [[0, 0.5, 0.2, 0.8]], "train/return": [[1, 0.25]]}


def test_labels_tell_folders_apart() -> None:
    """By as little of their paths as it takes; a number alone tells nothing."""
    paths = [Path("/r/grpo/0"), Path("/r/gigpo/0"), Path("/r/eval")]
    assert source_labels(paths) == ["grpo/0", "gigpo/0", "eval"]


def test_labels_name_the_episodes_of_a_run_after_the_run(tmp_path: Path) -> None:
    """And those that were recorded to a folder of that name after the folder: it may lie among runs."""
    evaluated, recorded = tmp_path / "evaluated" / "episodes", tmp_path / "runs" / "episodes"
    evaluated.mkdir(parents=True)
    recorded.mkdir(parents=True)
    (tmp_path / "evaluated" / "evaluation.json").write_text("{}", encoding="utf-8")
    assert source_labels([evaluated, recorded]) == ["evaluated", "episodes"]
    assert source_labels([recorded]) == ["episodes"]


def test_read_source_takes_a_run_an_evaluation_or_episodes(tmp_path: Path) -> None:
    """With its settings, metrics and tables, where there are some."""
    record(tmp_path / "run" / "episodes", range(3))
    (tmp_path / "run" / "config.yaml").write_text("seed: 4\ncredit: {method: grpo}\n")
    (tmp_path / "run" / "metrics.jsonl").write_text('{"update": 0, "train/return": 1.0}\n')
    table = {"success": 0.5, "n": 2, "ci95": [0.1, 0.9]}
    (tmp_path / "run" / "summary.json").write_text(json.dumps({"start": table, "final": table}))
    for folder in (tmp_path / "run", tmp_path / "run" / "episodes"):
        source = read_source(folder, "run")
        assert (len(source.shown), source.method, source.config().seed) == (3, "grpo", 4)
        assert len(source.rows) == 1 and next(iter(source.tables)) == "held-out tasks before training"
    with pytest.raises(FileNotFoundError, match="neither episodes nor metrics"):
        read_source(tmp_path, "nothing")


def test_a_page_is_known_by_its_beginning(tmp_path: Path) -> None:
    """So that it may be made anew, and other files are left alone."""
    assert is_page(write_page(tmp_path / "a.html", [Source(Path("x"), "x", [])]))
    (tmp_path / "b.html").write_text("<!doctype html><p>mine")
    assert not is_page(tmp_path / "b.html")
