"""The finding in one table: how accurate some methods are on official games, and what they train."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.credit.paired import difference
from benchmarks.report.credit import short
from benchmarks.report.parts import Result, origin

STAGE = "start"
"""Of the policy whose episodes are judged: after its warm start, before any method trained it."""
COLUMNS = (
    ("auc_failed", "lost"),
    ("auc_all_failed", "all lost"),
    ("auc_won", "won"),
    ("auc_harmful", "harm"),
)
MARKS = "†‡§"
"""Of gains that are not of the first training, but of a later one."""
COMMANDS = "path_gain lifted=true measure=commands episode_weight=0"
ROWS = (
    ("*the truth*", "truth (optimal distance)", "oracle"),
    ("**`path_gain`, lifted, in commands**", COMMANDS, COMMANDS),
    ("**`path_gain`, lifted**", "path_gain, lifted", "path_gain lifted=true"),
    ("**`path_gain`**", "path_gain, text keys", "path_gain"),
    ("*rule: rare command*", "rare kind of command", None),
    ("`g2po`", "g2po, text keys", "g2po key=text"),
    ("`rtmc`", "rtmc, text keys", None),
    ("`graph_gpo`", "graph_gpo, text keys", "graph_gpo key=text"),
    ("`graph_hca`", "graph_hca, text keys", "graph_hca key=text"),
    ("`step_opsd`, no norm", "step_opsd, step_norm none", "step_opsd step_norm=none"),
    (
        "`step_opsd`, no norm, hindsight before each step",
        "step_opsd, step_norm none, inline",
        "step_opsd step_norm=none, inline",
    ),
    ("`rlsd`", "rlsd", "rlsd"),
    ("`sdar`", "sdar", "sdar"),
    ("`grpo`", "grpo", "grpo"),
    ("`agent_opsd`", "agent_opsd", "agent_opsd"),
    ("`gigpo`", "gigpo", "gigpo"),
)
"""Name shown, row in the table of accuracy, and row in the tables of training. Graph methods have the keys
they were trained with; the second row was trained on seeds that had no part in finding it."""


def headline(official: Result, trainings: Sequence[Result]) -> list[str]:
    """The rows of `ROWS`: accuracy on the official games, tokens, and the gain in training over GRPO.

    Args:
        official: of `benchmarks.credit.accuracy` on official games.
        trainings: of `benchmarks.credit.learning`; a row has the gain in the first that trained it, marked
            if that is a later one; what that found again of other rows stands below.
    """
    table = official["sets"]["official"][STAGE]
    rows = {**table["controls"], **table["methods"]}
    episodes = table["episodes"]
    heads = [label for _, label in COLUMNS]
    lines = [
        f"| credit | {' | '.join(heads)} | tokens | in training |",
        "|---|" + "---|" * (len(heads) + 2),
    ]
    for shown, name, trained in ROWS:
        cells = [short(rows[name][key]) for key, _ in COLUMNS]
        tokens = f"{rows[name]['tokens'] / episodes:,.0f}"
        lines.append(f"| {shown} | {' | '.join(cells)} | {tokens} | {_gain(trained, trainings)} |")
    commits = ", ".join(result["commit"][:12] for result in trainings)
    later = [_again(trainings, place) for place in range(1, len(trainings))]
    return [
        *lines,
        "",
        f"Bold: of this project. Lost, won: episodes of groups with both outcomes. Official games of "
        f"`valid_unseen`, {table['groups']} groups of {episodes // table['groups']} attempts of a policy "
        f"after its warm start; graph methods with keys from texts; `step_opsd` without its normaliser, with "
        f"which all steps are alike; teachers read hindsight behind the first prompt, where the warm start "
        f"showed it, but in the row that has it before each step, as StepOPSD's paper; intervals of 95 % "
        f"over games. Tokens: read by models, beyond the rollout, for an episode. In training: attempts won "
        f"in houses of task set `full` over those of GRPO at the same tasks, in points; Student's "
        f"intervals of 95 % over seeds (commits "
        f"{commits}); GRPO itself won another share in each training, so gains of two marks do not compare. "
        f"{''.join(later)}{origin(official)}",
    ]


def _gain(name: str | None, trainings: Sequence[Mapping[str, Any]]) -> str:
    """Of the first training that has the method; "-" where there is none."""
    if name == "grpo":
        return "0"
    place = next((place for place, result in enumerate(trainings) if name in result["rows"]), None)
    if name is None or place is None:
        return "-"
    return f"{_points(trainings[place], name)}{f' {MARKS[place - 1]}' if place else ''}"


def _again(trainings: Sequence[Mapping[str, Any]], place: int) -> str:
    """The seeds of a later training, and its gains of rows that an earlier one has in the table."""
    result = trainings[place]
    found = [
        f"{shown.replace('*', '')} had {_points(result, name)}"
        for shown, _, name in ROWS
        if name is not None
        and name != "grpo"
        and name in result["rows"]
        and any(name in one["rows"] for one in trainings[:place])
    ]
    first = result.get("first_seed", 0)
    told = f": there {' and '.join(found)}" if found else ""
    last = first + result["seeds"] - 1
    policy = "another initial policy" if place == 1 else "that policy as well"
    return f"{MARKS[place - 1]} from {policy}, seeds {first} to {last}{told}. "


def _points(result: Mapping[str, Any], name: str) -> str:
    """The gain of a row over GRPO, in points, with half of Student's interval over the seeds.

    The bootstrap over seeds and updates is too narrow where few seeds differ much.
    """
    gain = difference(result["rows"][name], result["rows"]["grpo"])
    low, high = gain["student95"]
    return f"{100 * gain['value']:+.1f} ±{50 * (high - low):.1f}"
