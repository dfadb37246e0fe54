"""Tables of success: rates with their intervals, in all and by task type, and how they are printed."""

from dataclasses import replace
from itertools import count
from typing import Any

from stepopsd_agent.ops.intervals import wilson
from stepopsd_agent.rollout import describe, headline, success_table, table_text
from stepopsd_agent.viewer.content import _table
from stepopsd_wrappers import Episode
from tests.helpers.text_env import make_episode

_NUMBERS = count()


def outcome(task_type: str, won: bool, error: str | None = None, task_id: str = "") -> Episode:
    """A record of two steps; of a task of its own where none is named."""
    episode = make_episode(num_steps=2)
    info: dict[str, Any] = {**episode.steps[0].info, "task_type": task_type}
    first, middle, last = episode.steps
    last = replace(last, error=error, info={} if error else {**info, "won": won})
    name = task_id or f"task/{next(_NUMBERS)}"
    return replace(episode, task_id=name, steps=(replace(first, info=info), middle, last))


def test_success_table_counts_by_type_and_leaves_errors_out() -> None:
    """3 of 4, 2 of 2 and 1 of 2 by type; an episode that met an error is no failure."""
    episodes = [outcome("pick", True), outcome("pick", True), outcome("heat", True), outcome("heat", False)]
    table = success_table([*episodes, outcome("heat", False, error="RuntimeError: broke")])
    assert (table["success"], table["n"], table["errors"]) == (0.75, 4, 1)
    assert tuple(table["ci95"]) == wilson(3, 4)
    assert table["mean_steps"] == 2
    assert list(table["by_task_type"]) == ["heat", "pick"]
    assert {k: (v["success"], v["n"]) for k, v in table["by_task_type"].items()} == {
        "heat": (0.5, 2),
        "pick": (1.0, 2),
    }
    assert {name: row["errors"] for name, row in table["by_task_type"].items()} == {"heat": 1, "pick": 0}


def test_success_table_names_a_type_that_only_met_errors() -> None:
    """It has no games, and is there."""
    table = success_table([outcome("pick", True), outcome("cool", False, error="RuntimeError: broke")])
    assert table["by_task_type"]["cool"] == {"success": 0.0, "n": 0, "ci95": [0.0, 1.0], "errors": 1}


def test_table_text_counts_errors_where_there_are_some() -> None:
    """In a column of their own, for every row."""
    episodes = [outcome("pick", True), outcome("cool", False, error="RuntimeError: broke")]
    table = success_table(episodes)
    heading, *lines = table_text("task type", {**table["by_task_type"], "all": table}).splitlines()
    assert heading.endswith("games  errors")
    assert [line.split()[-2:] for line in lines] == [["0", "1"], ["1", "0"], ["1", "1"]]
    assert {len(line) for line in lines} == {len(heading)}


def test_success_table_of_nothing_knows_nothing() -> None:
    """No division by zero."""
    table = success_table([])
    assert (table["success"], table["n"], table["ci95"]) == (0.0, 0, [0.0, 1.0])


def test_table_text_is_aligned() -> None:
    """One heading, one line each, all columns below each other."""
    rows = {"short": {"success": 0.5, "n": 4, "ci95": [0.15, 0.85]}}
    rows["a much longer name"] = {"success": 1.0, "n": 1000, "ci95": [0.996, 1.0]}
    lines = table_text("agent", rows).splitlines()
    assert lines == [
        "agent               success    95 % interval  games",
        "short                 50.0%   15.0% to 85.0%      4",
        "a much longer name   100.0%  99.6% to 100.0%   1000",
    ]


def test_success_of_repeated_tasks_counts_both_and_is_less_certain() -> None:
    """100 attempts at 4 tasks, of which two are always won, tell of 4 tasks and not of 100."""
    episodes = [outcome("pick", k % 4 < 2, task_id=f"task/{k % 4}") for k in range(100)]
    table = success_table(episodes)
    assert (table["success"], table["n"], table["tasks"]) == (0.5, 100, 4)
    low, high = table["ci95"]
    assert low < wilson(2, 4)[0] and high > wilson(2, 4)[1]
    heading, line = table_text("task type", {"all": table}).splitlines()
    assert heading.endswith("attempts  games") and line.split()[-2:] == ["100", "4"]
    assert describe(table).startswith("success 50.0% of 100 attempts at 4 games (95 % interval ")
    once = success_table(episodes[:4])
    assert "tasks" not in once and tuple(once["ci95"]) == wilson(2, 4)
    assert describe(once).startswith("success 50.0% of 4 games (")


def test_the_summary_of_a_run_counts_what_ended_in_an_error() -> None:
    """Beside success at its start and end, and nothing where there was none."""
    whole = success_table([outcome("pick", True, task_id="a")])
    table = {**whole, "errors": 3}
    assert describe(headline(table)).endswith("; 3 more ended in an error")
    assert "error" not in describe(headline(whole))


def test_a_headline_says_how_many_tasks_the_attempts_were_at() -> None:
    """Where some were played again; the page of a run shows both numbers."""
    episodes = [outcome("pick", True, task_id="a"), outcome("pick", False, task_id="b")]
    once, again = success_table(episodes), success_table([*episodes, *episodes])
    assert headline(again)["tasks"] * 2 == headline(again)["n"] and "tasks" not in headline(once)
    rows = _table(again)
    assert rows[0][4] == f"{again['n']} at {again['tasks']} tasks" and _table(once)[0][4] == once["n"]
