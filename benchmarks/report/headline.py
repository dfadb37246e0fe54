"""The finding in one table: how accurate some methods are on official games, and what they train."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.report.credit import short
from benchmarks.report.parts import Result, origin

STAGE = "start"
"""Of the policy whose episodes are judged: after its warm start, before any method trained it."""
COLUMNS = (
    ("auc_failed", "lost, another attempt won"),
    ("auc_all_failed", "all lost"),
    ("auc_won", "won"),
    ("auc_harmful", "harm"),
)
ROWS = (
    ("the truth: optimal distance", "truth (optimal distance)", "oracle"),
    ("`path_gain lifted=true`, of this project", "path_gain, lifted", "path_gain lifted=true"),
    ("`path_gain`, of this project", "path_gain, text keys", "path_gain"),
    ("a rule: rare kinds of command", "rare kind of command", None),
    ("`g2po`", "g2po, text keys", "g2po key=text"),
    ("`rtmc`", "rtmc, text keys", None),
    ("`graph_gpo`", "graph_gpo, text keys", "graph_gpo key=text"),
    ("`graph_hca`", "graph_hca, text keys", "graph_hca key=text"),
    ("`step_opsd`, without its normaliser", "step_opsd, step_norm none", "step_opsd step_norm=none"),
    ("`rlsd`", "rlsd", "rlsd"),
    ("`sdar`", "sdar", "sdar"),
    ("`grpo`: all steps alike", "grpo", "grpo"),
    ("`agent_opsd`", "agent_opsd", "agent_opsd"),
    ("`gigpo`", "gigpo", "gigpo"),
)
"""Name shown, row in the table of accuracy, and row in the tables of training. Graph methods have the keys
they were trained with."""


def headline(official: Result, trainings: Sequence[Result]) -> list[str]:
    """The rows of `ROWS`: accuracy on the official games, tokens, and the gain in training over GRPO.

    Args:
        official: of `benchmarks.credit.accuracy` on official games.
        trainings: of `benchmarks.credit.learning`; a row has the gain of the last one that trained it.
    """
    table = official["sets"]["official"][STAGE]
    rows = {**table["controls"], **table["methods"]}
    episodes = table["episodes"]
    heads = [label for _, label in COLUMNS]
    lines = [
        f"| credit | {' | '.join(heads)} | tokens read an episode | attempts won in training, over GRPO |",
        "|---|" + "---|" * (len(heads) + 2),
    ]
    for shown, name, trained in ROWS:
        cells = [short(rows[name][key]) for key, _ in COLUMNS]
        tokens = f"{rows[name]['tokens'] / episodes:,.0f}"
        lines.append(f"| {shown} | {' | '.join(cells)} | {tokens} | {_gain(trained, trainings)} |")
    commits = ", ".join(result["commit"][:12] for result in trainings)
    return [
        *lines,
        "",
        f"Official games of `valid_unseen`, {table['groups']} groups of "
        f"{episodes // table['groups']} attempts, graph methods with keys from texts; "
        f"intervals of 95 % over games. In training: share of all "
        f"attempts won in houses of task set `full`, less GRPO's at the same tasks, in points; intervals of "
        f"95 % over seeds and updates (commits {commits}). {origin(official)}",
    ]


def _gain(name: str | None, trainings: Sequence[Mapping[str, Any]]) -> str:
    """Of the last training that has the method, in points; "-" where there is none."""
    if name == "grpo":
        return "0"
    found = [result["over_grpo"][name] for result in trainings if name in result["over_grpo"]]
    if not found:
        return "-"
    low, high = found[-1]["ci95"]
    return f"{100 * found[-1]['value']:+.1f} [{100 * low:.0f}, {100 * high:.0f}]"
