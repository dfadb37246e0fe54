"""The content of the page as plain JSON, which `html` embeds and the page's script reads.

Steps are lists instead of objects, since a run has a hundred thousand of them: ``[observation, response,
action, reward, valid, kind, distance, error, search note]``. Credit that is the same for all tokens of a step
is kept once, for the step.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from stepopsd_agent.rollout import success_table
from stepopsd_agent.viewer.credits import names_on_the_page
from stepopsd_agent.viewer.source import Shown, Source, StepCredit
from stepopsd_agent.viewer.token_texts import token_texts
from stepopsd_wrappers import Episode, Step

VIEW_SCHEMA = "stepopsd.view/1"
TIED = 1e-6
"""Token credits of a step count as equal if they differ by at most this share of the largest: rounding."""


def page_data(
    sources: Sequence[Source], methods: Sequence[str] = (), limit: int = 2000, model: Path | None = None
) -> dict[str, Any]:
    """The content of the page.

    Args:
        sources: the folders, with credit added.
        methods: to show side by side, with the names given to `add_credit`.
        limit: largest number of episodes per folder, in whole groups, spread evenly over its groups.
        model: folder of the model whose tokens the records hold; None looks into the run folder.
    """
    episodes = []
    for number, source in enumerate(sources):
        texts = token_texts(source, model)
        for shown in thinned(source.shown, limit):
            episodes.append(_episode(shown, number, methods, texts))
    return {
        "schema": VIEW_SCHEMA,
        "methods": names_on_the_page(methods),
        "sources": [_source(source, limit) for source in sources],
        "episodes": episodes,
    }


def thinned(shown: Sequence[Shown], limit: int) -> list[Shown]:
    """At most `limit` episodes, in whole groups spread evenly over all; at least one if there are any."""
    if len(shown) <= limit:
        return list(shown)
    groups: dict[tuple[str, int, int], list[Shown]] = {}
    for episode in shown:
        groups.setdefault(episode.episode.group_key, []).append(episode)
    every = list(groups.values())
    size = math.ceil(len(shown) / len(every))
    count = max(1, limit // size)
    chosen = [every[place * len(every) // count] for place in range(min(count, len(every)))]
    return list(chain.from_iterable(chosen))[:limit]


def _source(source: Source, limit: int) -> dict[str, Any]:
    episodes = [shown.episode for shown in source.shown]
    tables = {name: _table(table) for name, table in source.tables.items()}
    if episodes:
        tables["recorded episodes"] = _table(success_table(episodes))
    return {
        "label": source.label,
        "method": source.method,
        "episodes": len(episodes),
        "shown": len(thinned(source.shown, limit)),
        "tables": tables,
        "curves": curves(source.rows),
        "settings": yaml.safe_dump(source.settings, sort_keys=False) if source.settings else "",
    }


def _table(table: Mapping[str, Any]) -> list[list[Any]]:
    """Rows of name, success, low, high, count, errors; all tasks first."""
    rows = {"all": table, **(table.get("by_task_type") or {})}
    return [
        [name, row["success"], *row["ci95"], _count(row), row.get("errors", 0)]
        for name, row in rows.items()
        if row.get("ci95")
    ]


def _count(row: Mapping[str, Any]) -> int | str:
    """The number of attempts, and that of tasks where some were played again."""
    if "tasks" not in row:
        return int(row["n"])
    return f"{row['n']} at {row['tasks']} {'task' if row['tasks'] == 1 else 'tasks'}"


def curves(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[list[Any]]]:
    """The points of every metric: [update, value], for a success [update, value, low, high]."""
    points: dict[str, list[list[Any]]] = {}
    for row in rows:
        update = row.get("update")
        for name, value in row.items():
            if isinstance(value, Mapping) and "success" in value:
                if value.get("n") == 0:  # all episodes ended in an error: there is no success to draw
                    continue
                low, high = value.get("ci95", (value["success"],) * 2)
                points.setdefault(f"{name}/success", []).append([update, value["success"], low, high])
            elif name != "update" and isinstance(value, int | float) and math.isfinite(value):
                points.setdefault(name, []).append([update, short(value)])
    return points


def _episode(
    shown: Shown, source: int, methods: Sequence[str], texts: Callable[[int], str] | None
) -> dict[str, Any]:
    episode = shown.episode
    by_method = shown.credit
    return {
        "source": source,
        "update": episode.update,
        "group": episode.group,
        "member": episode.member,
        "run": episode.run,
        "task": episode.task_id,
        "type": episode.task_type,
        "seed": episode.seed,
        "goal": str(episode.steps[0].info.get("goal", "")),
        "outcome": shown.outcome,
        "return": short(episode.episode_return),
        "steps": [_step(step) for step in episode.steps],
        "truth": None if shown.progress is None else [short(value) for value in shown.progress],
        "credit": [
            [short(step.credit) for step in by_method[name]] if name in by_method else None
            for name in methods
        ],
        "tokens": _tokens(episode, [by_method.get(name) for name in methods], texts),
    }


def _step(step: Step) -> list[Any]:
    info = step.info.get("step", {})
    distance = step.info.get("optimal_distance", -1)
    action = None if step.action == step.response else step.action
    return [
        step.observation,
        step.response,
        action,
        short(step.reward),
        bool(info.get("valid", True)),
        str(info.get("kind", "")),
        distance,
        step.error,
        str(step.info.get("search_note", "")),
    ]


def _tokens(
    episode: Episode, credits: Sequence[list[StepCredit] | None], texts: Callable[[int], str] | None
) -> list[dict[str, Any] | None] | None:
    """The tokens of each step after the reset whose credit, or gap, is not the same for all of them."""
    rows: list[dict[str, Any] | None] = []
    for index, step in enumerate(episode.steps[1:]):
        here = [None if steps is None else steps[index] for steps in credits]
        ids = () if step.tokens is None else step.tokens.sampled_ids
        if step.tokens is None or not any(
            credit is not None and _varies(credit, len(ids)) for credit in here
        ):
            rows.append(None)
            continue
        gaps = next((credit.gap for credit in here if credit is not None and credit.gap is not None), None)
        rows.append(
            {
                "text": [f"#{token}" if texts is None else texts(token) for token in ids],
                "logprob": [short(value) for value in step.tokens.logprobs],
                "credit": [
                    None
                    if credit is None or not _varies(credit, len(ids))
                    else [short(v) for v in credit.tokens]
                    for credit in here
                ],
                "gap": None if gaps is None else [short(value) for value in gaps],
            }
        )
    return rows if any(rows) else None


def _varies(credit: StepCredit, count: int) -> bool:
    """Whether the tokens of a step have different credit, or a gap to show."""
    if len(credit.tokens) != count or not count:
        return False
    spread = max(credit.tokens) - min(credit.tokens)
    return credit.gap is not None or spread > TIED * max(map(abs, credit.tokens))


def short(value: float) -> float | None:
    """The value with four significant digits; None if it is not finite."""
    if not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.4g}")
