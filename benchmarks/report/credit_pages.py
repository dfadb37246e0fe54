"""The pages of the credit benchmark: what was found, accuracy, training, and the knobs of StepOPSD."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.report.credit import in_pairs, reader, summary, within_state
from benchmarks.report.headline import headline
from benchmarks.report.knobs import knobs
from benchmarks.report.learning import agreement, crossed, differences, learning, parted, right_step
from benchmarks.report.lifted import lifted_controls
from benchmarks.report.parts import Result

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
NAMES = ("credit-benchmark.md", "credit-accuracy.md", "credit-training.md", "two-knobs.md")
PAGES = tuple(ROOT / "docs" / name for name in NAMES)
TRAININGS = tuple(f"credit_learning{name}" for name in ("", "_lifted", "_commands", "_inline"))
"""Results of `benchmarks.credit.learning` in the table of the finding, the older first."""


def finding(official: Result) -> list[str]:
    """The table of the finding, with what was judged and trained so far."""
    paths = [RESULTS / f"{name}.json" for name in TRAININGS]
    return headline(with_later(official), [_placed(_read(path)) for path in paths if path.exists()])


def with_later(official: Result) -> Result:
    """The accuracy on official games with what was judged later, on the same recordings.

    Those are further methods, and teachers that read their hindsight elsewhere.
    """
    sets = official["sets"]["official"]
    for name in ("credit_accuracy_inline", "credit_accuracy_commands"):
        later = _read(RESULTS / f"{name}.json")
        place = f", {later['position']}" if "position" in later else ""
        sets = {
            stage: {**table, "methods": {**_named(later, stage, place), **table["methods"]}}
            for stage, table in sets.items()
        }
    return {**official, "sets": {"official": sets}}


def _named(later: Result, stage: str, place: str) -> Result:
    """The rows of a stage, with the place of the hindsight behind their names."""
    rows = later["sets"]["official"].get(stage, {"methods": {}})["methods"]
    return {f"{name}{place}": row for name, row in rows.items()}


def _placed(training: Result) -> Result:
    """A training with the place of the hindsight behind the names of its rows but GRPO's."""
    if not training.get("position"):
        return training
    place = f", {training['position']}"
    rows = {name if name == "grpo" else f"{name}{place}": row for name, row in training["rows"].items()}
    return {**training, "rows": rows}


def steps(last: Result) -> list[str]:
    """What the right step adds, by the seeds of three trainings."""
    before = [_read(RESULTS / f"credit_learning_{name}.json") for name in ("lifted", "commands")]
    return right_step([*before, last])


TABLES: dict[str, tuple[str, Callable[[Result], list[str]]]] = {
    "headline": ("accuracy_official", finding),
    "accuracy": ("accuracy", summary),
    "accuracy_official": ("accuracy_official", partial(summary, task_set="official")),
    "accuracy_inline": ("accuracy_inline", partial(summary, task_set="official")),
    "accuracy_full": ("accuracy_full", partial(summary, task_set="full")),
    "pairs": ("pairs", in_pairs),
    "accuracy_searchqa": ("accuracy_searchqa", partial(summary, task_set="searchqa")),
    "published_tuned": ("published_tuned", partial(summary, task_set="official")),
    "variants": ("variants", summary),
    "variants_lifted": ("variants_lifted", partial(summary, task_set="full")),
    "lifted_controls": ("lifted_controls", lifted_controls),
    "reader": ("reader", reader),
    "accuracy_pretrained": ("accuracy_pretrained", partial(summary, task_set="pretrained")),
    "qval": ("qval", within_state),
    "learning": ("learning", learning),
    "learning_lifted": ("learning_lifted", learning),
    "learning_lifted_pairs": ("learning_lifted", differences),
    "learning_crossed": ("learning_lifted", crossed),
    "learning_commands": ("learning_commands", learning),
    "learning_commands_pairs": ("learning_commands", differences),
    "learning_form": ("learning_form", parted),
    "learning_steps": ("learning_steps", steps),
    "learning_inline": ("learning_inline", learning),
    "learning_rules": ("learning_rules", differences),
    "learning_searchqa": ("learning_searchqa", learning),
    "learning_few": ("learning_few", learning),
    "learning_matched": ("learning_matched", learning),
    "agreement": ("agreement", agreement),
    "agreement_full": ("agreement_full", agreement),
    "two_knobs": ("two_knobs", knobs),
    "two_knobs_searchqa": ("two_knobs_searchqa", knobs),
    "two_knobs_learning": ("two_knobs_learning", knobs),
    "two_knobs_searchqa_learning": ("two_knobs_searchqa_learning", knobs),
}
"""Tables by the name in their marks: the result's name behind ``credit_``, and what writes it."""


def with_table(text: str, name: str, result: str, write: Callable[[Result], list[str]]) -> str:
    """A page with the newest table between the marks of this name; as it is without them or such a result."""
    begin, end = f"<!-- {name}: made by python -m benchmarks.report -->\n", f"<!-- end of {name} -->"
    path = RESULTS / f"{result}.json"
    if begin not in text or not path.exists():
        return text
    table = "\n".join(write(_read(path)))
    head, _, rest = text.partition(begin)
    return f"{head}{begin}{table}\n{end}{rest.partition(end)[2]}"


def with_tables(text: str) -> str:
    """A page with all tables of the credit benchmark that it has marks for."""
    for name, (result, write) in TABLES.items():
        text = with_table(text, f"credit {name}", f"credit_{result}", write)
    return text


def _read(path: Path) -> Result:
    found: Result = json.loads(path.read_text(encoding="utf-8"))
    return found
