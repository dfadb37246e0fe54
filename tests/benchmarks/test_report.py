"""The generated pages say what the results and the docstrings say."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.credit.paired import of_seeds
from benchmarks.report import credit_methods, credit_pages, pages as report
from benchmarks.report.learning import agreement, parted
from benchmarks.report.parts import Result, exists, module_of, origin, rate, taken, without_module
from stepopsd_agent.ops import proportion


def test_page_is_made_from_the_results() -> None:
    """docs/benchmarks.md was not written by hand and is not stale."""
    assert report.PAGE.read_text(encoding="utf-8") == report.page()


def test_readme_shows_the_newest_speed() -> None:
    """Its table was not written by hand and is not stale."""
    assert report.README.read_text(encoding="utf-8") == report.readme()
    assert "times TextWorld's speed" in report.readme()


@pytest.mark.parametrize("page", credit_pages.PAGES, ids=lambda page: str(page.name))
def test_the_pages_on_credit_show_the_newest_tables(page: Path) -> None:
    """Between their marks."""
    text = page.read_text(encoding="utf-8")
    assert text == credit_pages.with_tables(text)


def test_every_measured_table_has_its_place_on_one_page_on_credit() -> None:
    """And every mark belongs to a table: one of an unknown name would never be filled."""
    texts = "\n".join(page.read_text(encoding="utf-8") for page in credit_pages.PAGES)
    marks = re.findall(r"<!-- credit (\w+): made by", texts)
    measured = {
        name
        for name, (result, _) in credit_pages.TABLES.items()
        if (report.RESULTS / f"credit_{result}.json").exists()
    }
    assert sorted(marks) == sorted(set(marks)) and measured <= set(marks) <= set(credit_pages.TABLES)
    assert marks == re.findall(r"<!-- end of credit (\w+) -->", texts)


def test_credit_methods_are_made_from_the_docstrings() -> None:
    """docs/credit-methods.md was not written by hand and is not stale."""
    assert credit_methods.PAGE.read_text(encoding="utf-8") == credit_methods.page()


def test_results_name_a_module_that_can_be_run() -> None:
    """Under its own name, or the one it has today; names that no result has are not kept."""
    files = sorted((report.ROOT / "benchmarks" / "results").glob("*.json"))
    modules = {module_of(json.loads(file.read_text(encoding="utf-8"))) for file in files}
    assert not {module for module in modules if not exists(module)}


def test_a_result_of_changed_files_says_so() -> None:
    """Its commit alone would not make it again."""
    made = json.loads((report.RESULTS / "credit_qval.json").read_text(encoding="utf-8"))
    commit = "0123456789abcdef"
    assert f"commit {commit[:12]}, " in origin({**made, "commit": commit})
    assert f"commit {commit[:12]} with uncommitted changes, " in origin({**made, "commit": f"{commit}-dirty"})
    kept = {**made, "commit": commit, "kept": ["fedcba9876543210-dirty", "00112233445566"]}
    runs = "(runs taken over from commits fedcba987654 with uncommitted changes, 001122334455)"
    assert f"commit {commit[:12]} {runs}, " in origin(kept)


@pytest.mark.parametrize(
    ("benchmark", "facts", "flags"),
    [
        ("accuracy", {"sets": {"official": {}}, "part": "test"}, " --set official"),
        (
            "accuracy",
            {"sets": {"full": {}, "official": {}}, "part": "tuning"},
            " --set full official --part tuning",
        ),
        ("accuracy", {"sets": {"small": {}}, "part": "test"}, ""),
        ("learning", {"set": "full", "matched": False, "first_seed": 5}, " --first_seed 5"),
        ("learning", {"set": "few", "matched": True}, " --set few --match_norms"),
        ("learning", {"set": "full", "position": "inline"}, " --position inline"),
        ("two_knobs", {"set": "searchqa", "part": "tuning"}, " --set searchqa"),
    ],
)
def test_the_command_of_a_table_says_which_tasks_and_seeds_it_is_of(
    benchmark: str, facts: Result, flags: str
) -> None:
    """Without them the command below a table would make another one."""
    made = json.loads((report.RESULTS / "path_of_an_update.json").read_text())
    command = f"python -m benchmarks.credit.{benchmark} --out DIR"
    assert origin({**made, **facts, "command": command}).startswith(f"`{command}{flags}`, commit ")
    named = f"{command} --set other --first_seed 9"
    assert origin({**made, **facts, "command": named}).startswith(f"`{named}"), "what it says stays"
    assert origin({**made, **facts, "command": named}).count("--set") == 1


def test_agreement_says_in_whose_houses_the_accuracy_was_measured() -> None:
    """Those of the training are named as such."""
    made = json.loads((report.RESULTS / "credit_agreement.json").read_text(encoding="utf-8"))
    other = agreement({**made, "accuracy_set": "small"})[-1]
    assert "of another training, with GRPO, on task set `small`" in other
    assert "on the same task set" in agreement({**made, "accuracy_set": made["set"]})[-1]


def test_a_rate_counts_errors_beside_it() -> None:
    """Where all ended in one there is no rate."""
    assert rate(proportion(1, 2)) == "50.0% (9.5% to 90.5%)"
    assert rate({**proportion(1, 2), "errors": 3}) == "50.0% (9.5% to 90.5%), and 3 errors"
    assert rate({**proportion(0, 0), "errors": 3}) == "-, and 3 errors"


def test_the_parts_of_a_form_are_compared_over_both_values_of_the_other() -> None:
    """By hand: without the episode's advantage .2 and .4 more in two seeds, in commands .1 and .1 less."""
    method = "path_gain lifted=true"
    over = {
        method: [0.3, 0.3],
        f"{method} episode_weight=0": [0.5, 0.7],
        f"{method} measure=commands": [0.2, 0.2],
        f"{method} measure=commands episode_weight=0": [0.4, 0.6],
    }
    every = {**over, "grpo": [0.0, 0.0]}
    made = json.loads((report.RESULTS / "credit_learning_commands.json").read_text(encoding="utf-8"))
    pairs = {
        one: {other: of_seeds(np.subtract(mine, its)) for other, its in every.items()}
        for one, mine in every.items()
    }
    lines = parted({**made, "differences": pairs})
    assert lines[2].startswith("| discounted | +0.300 [0.30, 0.30], 2 of 2 | +0.600 [")
    assert lines[4].startswith("| *second column less first, over both rows* | +0.300 [-0.97, 1.57], 2 of 2 ")
    assert lines[5].startswith(
        "| *second row less first, over both columns* | -0.100 [-0.10, -0.10], 0 of 2 "
    )


def test_controls_are_named_shortly_and_whose_credit_they_take_is_said_once() -> None:
    """The same inner method once, others and plain methods as they are."""
    control = "benchmarks.credit.shuffled:{} inner=path_gain,lifted=true"
    names = [
        control.format("shuffled"),
        "path_gain lifted=true",
        control.format("averaged"),
        "someones:own a=1",
    ]
    assert [without_module(name) for name in names] == [
        "shuffled", "path_gain lifted=true", "averaged", "own a=1"
    ]  # fmt: skip
    assert taken(names) == "`averaged` and `shuffled`: of the credit of `path_gain lifted=true`. "
    assert taken(["grpo"]) == ""
