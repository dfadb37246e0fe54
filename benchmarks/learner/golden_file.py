"""Read the file of batches with the values of the original code; `credit_golden` describes its format."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepopsd_agent.batch import KINDS, Batch, Row, audit, batch_from_lists


class BadInputError(ValueError):
    """The file is missing or does not have the described format."""


@dataclass(frozen=True)
class Golden:
    """One batch of the file in both row layouts, with its expected values."""

    layouts: tuple[Batch, Batch]
    place: tuple[int, ...]
    """For each step, in the order of the file, its row in the table of steps."""
    expected: dict[str, Any]


def read(path: Path) -> list[Golden]:
    """Read the batches of a file.

    Raises:
        BadInputError: the file cannot be read or a batch is malformed; the message names file and batch.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(
            f"cannot read {path}: {error.strerror}; give the golden values' JSON file"
        ) from error
    except ValueError as error:
        raise BadInputError(f"{path} is not JSON ({error}); give the golden values' JSON file") from error
    if not isinstance(content, list) or not content:
        raise BadInputError(
            f"{path} must hold a list of batches, got {type(content).__name__}, or an empty one"
        )
    goldens = []
    for number, item in enumerate(content):
        try:
            goldens.append(_golden(item))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise BadInputError(
                f"{path}: batch {number} is malformed ({type(error).__name__}: {error})"
            ) from error
    return goldens


def _golden(item: dict[str, Any]) -> Golden:
    """One batch of the file."""
    order = sorted(
        range(len(item["steps"])), key=lambda i: (item["steps"][i]["episode"], item["steps"][i]["index"])
    )
    place = tuple(order.index(number) for number in range(len(order)))
    for name, values in item["expected"].items():
        _check_expected(name, values, [len(step["student_logprobs"]) for step in item["steps"]])
    steps = [item["steps"][number] for number in order]
    layouts = (_batch(item, steps, row_per_step=False), _batch(item, steps, row_per_step=True))
    for batch in layouts:
        audit(batch)
    return Golden(layouts, place, item["expected"])


def _check_expected(name: str, values: Any, sizes: list[int]) -> None:
    """Raise ValueError unless `values` is a number, or has per step a number or a list with one per token."""
    entries = values if isinstance(values, list) else [values]
    if isinstance(values, list) and len(values) != len(sizes):
        raise ValueError(f"expected[{name!r}] has {len(values)} entries for {len(sizes)} steps")
    for entry, size in zip(entries, sizes, strict=False):
        numbers = entry if isinstance(entry, list) else [entry] * size
        if len(numbers) != size or not all(isinstance(number, int | float) for number in numbers):
            raise ValueError(f"expected[{name!r}]: a step of {size} tokens needs a number, or {size} of them")


def _batch(item: dict[str, Any], steps: Sequence[dict[str, Any]], *, row_per_step: bool) -> Batch:
    """The batch: each row begins with one prompt token, and each step is followed by its observation."""
    rows: list[Row] = []
    table: list[Row] = []
    anchors = sorted({step["anchor"] for step in steps})
    for number, step in enumerate(steps):
        if row_per_step or number == 0 or step["episode"] != steps[number - 1]["episode"]:
            rows.append({"input_ids": [], "step_of_token": [], "old_logprobs": []})
            _extend(rows[-1], [-1], [0.0], [0.0], [0.0])
        size, seen = len(step["student_logprobs"]), step["n_obs"]
        columns = (step["old_logprobs"], step["student_logprobs"], step["teacher_logprobs"])
        _extend(rows[-1], [number] * size + [-1] * seen, *(column + [0.0] * seen for column in columns))
        table.append(
            {
                "episode_of_step": step["episode"],
                "index_in_episode": step["index"],
                "reward": step["reward"],
                "anchor": anchors.index(step["anchor"]),
                "state": anchors.index(step["anchor"]),
                "valid": True,
                "kind": KINDS.index("act"),
            }
        )
    return batch_from_lists(
        rows,
        table,
        [
            {
                "group_of_episode": episode["group"],
                "episode_return": episode["episode_return"],
                "success": episode["episode_return"] > 0,
            }
            for episode in item["episodes"]
        ],
    )


def _extend(row: Row, step: list[int], old: list[float], student: list[float], teacher: list[float]) -> None:
    """Append tokens to a row; the ids do not matter."""
    row["input_ids"] = [*row["input_ids"], *[0] * len(step)]
    row["step_of_token"] = [*row["step_of_token"], *step]
    row["old_logprobs"] = [*row["old_logprobs"], *old]
    row["student_logprobs"] = [*row.get("student_logprobs", ()), *student]
    row["teacher_logprobs"] = [*row.get("teacher_logprobs", ()), *teacher]
