"""Compare credit and losses with the values that the methods' original code returns.

    python -m benchmarks.credit_golden FILE [--json OUT]

FILE is a JSON list of batches: `episodes` (group, episode_return), `steps` (episode, index, reward, anchor,
n_obs and, per sampled token, student_logprobs, teacher_logprobs, old_logprobs) and `expected`: for each name
a list of lists, one per step, or a number. Everything is computed with a row per episode and with a row per
step; per-token values are compared absolutely, numbers relatively.

Exit code 0; 1 above `TOLERANCE` or when a name that must be compared is not known here; 2 for a bad file.
"""

import argparse
import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import torch
from torch import Tensor

from benchmarks.output import write_result
from stepopsd_agent import credit, losses
from stepopsd_agent.audit import audit
from stepopsd_agent.batch import KINDS, Batch, StepRow, TokenRow

TOLERANCE = 1e-5
REQUIRED = ("stepopsd_", "grpo_", "drgrpo_", "ppo_")
"""A name that begins like this must be compared."""


class BadInputError(ValueError):
    """The file is missing or is not what the module's text describes."""


@dataclass(frozen=True)
class Golden:
    """One batch of the file in both row layouts, with the values expected of it."""

    layouts: tuple[Batch, Batch]
    place: tuple[int, ...]
    """For each step in the file's order its row of the steps table."""
    expected: dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.credit_golden", description=__doc__.split("\n")[0]
    )
    parser.add_argument("file", type=Path, help="JSON file of batches and expected values")
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write the result as JSON")
    parser.add_argument("--short", action="store_true", help="no effect: the whole comparison takes seconds")
    options = parser.parse_args(arguments)
    try:
        goldens = read(options.file)
        result = compare(goldens)
        if options.json:
            write_result(options.json, result, "python -m benchmarks.credit_golden FILE")
    except BadInputError as error:
        print(f"credit_golden: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"credit_golden: cannot write {options.json}: {error.strerror}", file=sys.stderr)
        return 2
    missing = [name for name in result["not_compared"] if name.startswith(REQUIRED)]
    if result["not_compared"]:
        print("not compared:", ", ".join(result["not_compared"]))
    if missing:
        print("must be compared, but nothing here computes them:", ", ".join(missing))
    for name, difference in result["above_tolerance"].items():
        print(f"{name} differs by {difference:.3g}, more than {TOLERANCE:g}")
    print(
        f"compared {len(result['differences'])} of {result['names']} names on {result['batches']} batches, "
        f"largest difference {result['largest_difference']:.3g}"
    )
    return 1 if missing or result["above_tolerance"] or not result["differences"] else 0


def read(path: Path) -> list[Golden]:
    """The file's batches.

    Raises:
        BadInputError: names the file, and the batch if it is one.
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
    """Raise unless there is one number, or for each step a number or a list with one per sampled token."""
    entries = values if isinstance(values, list) else [values]
    if isinstance(values, list) and len(values) != len(sizes):
        raise ValueError(f"expected[{name!r}] has {len(values)} entries for {len(sizes)} steps")
    for entry, size in zip(entries, sizes, strict=False):
        numbers = entry if isinstance(entry, list) else [entry] * size
        if len(numbers) != size or not all(isinstance(number, int | float) for number in numbers):
            raise ValueError(f"expected[{name!r}]: a step of {size} tokens needs a number, or {size} of them")


def _batch(item: dict[str, Any], steps: Sequence[dict[str, Any]], *, row_per_step: bool) -> Batch:
    """The batch with one token of prompt at the head of each row and each step's observation behind it."""
    rows: list[TokenRow] = []
    table: list[StepRow] = []
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
    return Batch.from_lists(
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


def _extend(
    row: TokenRow, step: list[int], old: list[float], student: list[float], teacher: list[float]
) -> None:
    """Append tokens to a row; the ids themselves play no part."""
    row["input_ids"] = [*row["input_ids"], *[0] * len(step)]
    row["step_of_token"] = [*row["step_of_token"], *step]
    row["old_logprobs"] = [*row["old_logprobs"], *old]
    row["student_logprobs"] = [*row.get("student_logprobs", ()), *student]
    row["teacher_logprobs"] = [*row.get("teacher_logprobs", ()), *teacher]


def _grpo(batch: Batch, baseline: str = "episode", std: bool = True) -> Tensor:
    return credit.make("grpo", baseline=baseline, std=std)(batch).advantages


def _stepopsd(batch: Batch, alpha: str, mix: str, weight: str, step_norm: str) -> Tensor:
    method = credit.make(
        "step_opsd", alpha_clip=float(alpha), lambda_mix=float(mix), weight=weight, step_norm=step_norm
    )
    return method(batch).advantages


def _total(batch: Batch, per_token: Tensor, aggregation: str) -> Tensor:
    """One number, every step being a sequence."""
    name = cast(losses.Aggregation, aggregation.replace("_", "-"))
    weights = losses.token_weights(batch.action_mask, name, sequence_of_token=batch.tokens.step_of_token)
    return (weights * per_token).sum()


def _students(batch: Batch) -> tuple[Tensor, Tensor]:
    """Student and teacher log-probabilities, which every batch here has."""
    return cast(Tensor, batch.tokens.student_logprobs), cast(Tensor, batch.tokens.teacher_logprobs)


def _ppo(batch: Batch, eps: str, dual: str, aggregation: str) -> Tensor:
    clip = float(eps)
    per_token = losses.ppo_clip(
        _students(batch)[0],
        batch.tokens.old_logprobs,
        _grpo(batch),
        clip_low=clip,
        clip_high=clip,
        dual_clip=float(dual),
    )
    return _total(batch, per_token, aggregation)


def _clip_fraction(batch: Batch) -> Tensor:
    clipped = losses.ppo_clipped(_students(batch)[0], batch.tokens.old_logprobs, _grpo(batch))
    return _total(batch, clipped.float(), "token-mean")


def _gated(batch: Batch, beta: str) -> Tensor:
    return _total(batch, losses.gated_distillation(*_students(batch), gate_beta=float(beta)), "token-mean")


_AGGREGATIONS = "|".join(get_args(losses.Aggregation)[1:3])
COMPUTED: tuple[tuple[str, Callable[..., Tensor]], ...] = (
    (r"grpo_(episode|step)_baseline", _grpo),
    (r"drgrpo_(episode|step)_baseline", lambda batch, baseline: _grpo(batch, baseline, std=False)),
    (r"stepopsd_alpha([\d.]+)_lam([\d.]+)_(sigmoid|exp)_(none|equal_step_mean_abs)", _stepopsd),
    (r"ppo_clip_loss_eps([\d.]+)_dual([\d.]+)_(token_mean)_on_grpo_episode_baseline", _ppo),
    (rf"ppo_clip_loss_eps([\d.]+)_dual([\d.]+)_({_AGGREGATIONS})_row_per_step", _ppo),
    (r"ppo_clip_fraction", _clip_fraction),
    (r"(?:sdar|grpo_opsd)_loss_beta([\d.]+)_token_mean", _gated),
)
"""Names of expected values, and what computes them from a batch and the name's parts."""


def compare(goldens: Sequence[Golden]) -> dict[str, Any]:
    """Largest difference of every name that can be computed, over batches and layouts."""
    names = list(dict.fromkeys(name for golden in goldens for name in golden.expected))
    differences: dict[str, float] = {}
    for name in names:
        found = next(((m, function) for text, function in COMPUTED if (m := re.fullmatch(text, name))), None)
        if found is not None:
            match, function = found
            having = [golden for golden in goldens if name in golden.expected]
            worst = [_difference(g, b, function(b, *match.groups()), name) for g in having for b in g.layouts]
            differences[name] = max(worst)
    return {
        "names": len(names),
        "batches": len(goldens),
        "largest_difference": max(differences.values(), default=0.0),
        "tolerance": TOLERANCE,
        "differences": differences,
        "not_compared": [name for name in names if name not in differences],
        "above_tolerance": {name: value for name, value in differences.items() if not value <= TOLERANCE},
    }


def _per_token(given: float | list[float], size: int) -> list[float]:
    """A step's expected values; one number stands for all its tokens."""
    return given if isinstance(given, list) else [given] * size


def _difference(golden: Golden, batch: Batch, value: Tensor, name: str) -> float:
    """Largest absolute difference over tokens, or a number's relative one; infinite where it is NaN."""
    expected = golden.expected[name]
    if isinstance(expected, list) != (value.dim() == 2):
        raise BadInputError(f"expected[{name!r}] must be {'a list' if value.dim() == 2 else 'one number'}")
    if not isinstance(expected, list):
        difference = abs(float(value) - expected) / max(abs(expected), 1e-12)
    else:
        chosen = [value[batch.tokens.step_of_token == place].double() for place in golden.place]
        steps = zip(expected, chosen, strict=True)
        flat = [number for given, own in steps for number in _per_token(given, len(own))]
        wanted = torch.tensor(flat, dtype=torch.float64)
        difference = float((torch.cat(chosen) - wanted).abs().max())
    return math.inf if math.isnan(difference) else difference


if __name__ == "__main__":
    sys.exit(main())
