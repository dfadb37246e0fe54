"""The finding in one table: every figure is the result's, and gains are of the training that has the row."""

import json
from typing import Any

from benchmarks.report.credit_pages import with_later
from benchmarks.report.headline import ROWS, headline
from benchmarks.report.learning import AVERAGED, IN_COMMANDS, SAME, right_step
from benchmarks.report.pages import RESULTS


def result(name: str) -> Any:
    """A committed result of the credit benchmark."""
    return json.loads((RESULTS / f"credit_{name}.json").read_text(encoding="utf-8"))


def training(**gains: float) -> Any:
    """A result of `benchmarks.credit.learning` with these gains over GRPO, five seeds two points about each.

    The deviation of the seeds is 0.0158, so half of Student's interval is 2.776 x 0.0158 / sqrt(5) = 0.0196.
    """
    about = (-0.02, -0.01, 0.0, 0.01, 0.02)
    rows = {name: {"trained_on": [[0.5 + gain + one] for one in about]} for name, gain in gains.items()}
    rows["grpo"] = {"trained_on": [[0.5]] * 5}
    return {"rows": rows, "commit": "0123456789abcdef", "seeds": 5}


def cells(lines: list[str], shown: str) -> list[str]:
    """The cells of one row."""
    (line,) = [line for line in lines if line.startswith(f"| {shown} |")]
    return [cell.strip() for cell in line.strip("|").split("|")[1:]]


def test_a_row_has_the_figures_of_the_result() -> None:
    """Accuracy at the start, tokens by episode, and points won more than GRPO."""
    official = with_later(result("accuracy_official"))
    lines = headline(official, [training(rlsd=0.012)])
    row = official["sets"]["official"]["start"]["methods"]["rlsd"]
    measures = [row[key] for key in ("auc_failed", "auc_all_failed", "auc_won", "auc_harmful")]
    expected = [
        f"{one['value']:.2f} ±{(one['high'] - one['low']) / 2:.2f}".replace("0.", ".") for one in measures
    ]
    assert cells(lines, "`rlsd`") == [*expected, f"{row['tokens'] / 1024:,.0f}", "+1.2 ±2.0"]
    assert "128 groups of 8 attempts of a policy after its warm start;" in lines[-1]
    assert "Student's intervals of 95 % over seeds" in lines[-1]


def test_all_rows_are_shown_and_what_was_not_trained_has_no_gain() -> None:
    """GRPO is what the others are measured by."""
    lines = headline(with_later(result("accuracy_official")), [training(sdar=0.01)])
    gains = {shown: cells(lines, shown)[-1] for shown, _, _ in ROWS}
    assert gains.pop("`sdar`") != "-" and gains.pop("`grpo`") == "0"
    assert set(gains.values()) == {"-"}


def test_a_row_of_a_later_training_is_marked() -> None:
    """A gain is of the first training that has the row; what a later one found of path_gain is told below."""
    later = training(rlsd=0.2, sdar=0.01, path_gain=0.03)
    lines = headline(with_later(result("accuracy_official")), [training(rlsd=0.1, path_gain=0.05), later])
    assert cells(lines, "`rlsd`")[-1] == "+10.0 ±2.0" and cells(lines, "`sdar`")[-1] == "+1.0 ±2.0 †"
    told = "there `path_gain` had +3.0 ±2.0 and `rlsd` had +20.0 ±2.0."
    assert f"† from another initial policy, seeds 0 to 4: {told}" in lines[-1]
    third = training(sdar=0.04, grpo_opsd=0.1) | {"first_seed": 5}
    lines = headline(with_later(result("accuracy_official")), [training(rlsd=0.1), later, third])
    assert "‡ from that policy as well, seeds 5 to 9: there `sdar` had +4.0 ±2.0." in lines[-1]


def test_what_the_right_step_adds_is_taken_over_the_seeds_of_all_trainings() -> None:
    """The same credit has two names; each difference is of the same seed, and all seeds count alike."""

    def trained(steps: str, first: int, *success: tuple[float, float]) -> Any:
        columns = zip(*success, strict=True)
        rows = {
            name: {"trained_on": [[one] for one in column], "training": list(column)}
            for name, column in zip((steps, AVERAGED), columns, strict=True)
        }
        return {**result("learning_commands"), "rows": rows, "first_seed": first}

    earlier = trained(SAME, 0, (0.60, 0.50), (0.50, 0.48))
    later = trained(IN_COMMANDS, 5, (0.70, 0.70), (0.60, 0.56))
    lines = right_step([earlier, later])
    assert lines[2].startswith("| 0 to 1 | 0.490 | 0.550 | +0.060 [") and lines[2].endswith(
        "2 of 2 | +0.100 +0.020 |"
    )
    assert lines[3].endswith("1 of 2 | +0.000 +0.040 |")
    assert lines[4].startswith("| *without the first line* | | | +0.020 [")
    # mean 0.04, deviation 0.0432, 3.182 x 0.0432 / 2 = 0.069
    assert lines[5] == "| *all* | | | +0.040 [-0.03, 0.11], 3 of 4 | |"
