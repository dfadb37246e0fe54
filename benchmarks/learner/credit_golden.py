"""Compare credit and losses with the values of the methods' original code.

    python -m benchmarks.learner.credit_golden FILE [--json OUT]

FILE is a JSON list of batches: `episodes` (group, episode_return), `steps` (episode, index, reward, anchor,
n_obs and, per sampled token, student_logprobs, teacher_logprobs, old_logprobs) and `expected`, which has for
each name a list of lists, one per step, or a number. Everything is computed with a row per episode and with a
row per step; per-token values are compared by absolute difference, numbers by relative difference.

The exit code is 1 for a difference above `TOLERANCE` or a name that cannot be computed, 2 for a bad file.
"""

import argparse
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast, get_args

import torch
from torch import Tensor

from benchmarks.learner.golden_file import BadInputError, Golden, read
from benchmarks.output import write_result
from stepopsd_agent import credit, ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.config import Aggregation
from stepopsd_agent.ops import losses

TOLERANCE = 1e-5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.learner.credit_golden", description=__doc__.split("\n")[0]
    )
    parser.add_argument("file", type=Path, help="JSON file of batches and expected values")
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write the result as JSON")
    parser.add_argument("--short", action="store_true", help="no effect: the whole comparison takes seconds")
    options = parser.parse_args(arguments)
    try:
        goldens = read(options.file)
        result = compare(goldens)
        if options.json:
            write_result(options.json, result, "python -m benchmarks.learner.credit_golden FILE")
    except BadInputError as error:
        print(f"credit_golden: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"credit_golden: cannot write {options.json}: {error.strerror}", file=sys.stderr)
        return 2
    missing = result["not_compared"]
    if missing:
        print("must be compared, but nothing here computes them:", ", ".join(missing))
    for name, difference in result["above_tolerance"].items():
        print(f"{name} differs by {difference:.3g}, more than {TOLERANCE:g}")
    print(
        f"compared {len(result['differences'])} of {result['names']} names on {result['batches']} batches, "
        f"largest difference {result['largest_difference']:.3g}"
    )
    return 1 if missing or result["above_tolerance"] or not result["differences"] else 0


def _grpo(batch: Batch, baseline: str = "episode", std: bool = True) -> Tensor:
    return credit.make("grpo", baseline=baseline, std=std)(batch).advantages


def _gigpo(batch: Batch, mode: str, gamma: str, weight: str) -> Tensor:
    std = mode == "mean_std_norm"
    return credit.make("gigpo", std=std, gamma=float(gamma), step_weight=float(weight))(batch).advantages


def _hgpo(batch: Batch, history: str, gamma: str, alpha: str) -> Tensor:
    method = credit.make("hgpo", history=int(history), gamma=float(gamma), alpha=float(alpha))
    return method(batch).advantages


def _returns(batch: Batch, gamma: str) -> Tensor:
    steps, step_of_token = batch.steps, batch.tokens.step_of_token
    returns = ops.discounted_to_go(steps.reward, steps.episode_of_step, batch.num_episodes, float(gamma))
    return ops.spread_steps(returns, step_of_token)


def _rlsd(batch: Batch, mix: str, alpha: str) -> Tensor:
    return credit.make("rlsd", lambda_mix=float(mix), alpha_clip=float(alpha))(batch).advantages


def _stepopsd(batch: Batch, alpha: str, mix: str, weight: str, step_norm: str) -> Tensor:
    method = credit.make(
        "step_opsd", alpha_clip=float(alpha), lambda_mix=float(mix), weight=weight, step_norm=step_norm
    )
    return method(batch).advantages


def _total(batch: Batch, per_token: Tensor, aggregation: str) -> Tensor:
    """The aggregated loss, with every step as a sequence and the batch's width as horizon."""
    name, mask = cast(Aggregation, aggregation.replace("_", "-")), batch.action_mask
    steps = batch.tokens.step_of_token
    weights = losses.token_weights(mask, name, sequence_of_token=steps, horizon=mask.shape[1])
    return (weights * per_token).sum()


def _students(batch: Batch) -> tuple[Tensor, Tensor]:
    """Student and teacher log-probabilities; every golden batch has them."""
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


def _term(batch: Batch, name: str, **fields: float) -> Tensor:
    """A method's extra loss term at the student's log-probabilities; the original has no coefficient."""
    (term,) = credit.make(name, coef=1.0, **fields)(batch).terms
    return (term.weights * term.function(_students(batch)[0], *term.inputs)).sum()


_AGGREGATIONS = "|".join(get_args(Aggregation)[1:3])
COMPUTED: tuple[tuple[str, Callable[..., Tensor]], ...] = (
    (r"grpo_(episode|step)_baseline", _grpo),
    (r"drgrpo_(episode|step)_baseline", lambda batch, baseline: _grpo(batch, baseline, std=False)),
    (r"stepopsd_alpha([\d.]+)_lam([\d.]+)_(sigmoid|exp)_(none|equal_step_mean_abs)", _stepopsd),
    (r"ppo_clip_loss_eps([\d.]+)_dual([\d.]+)_(token_mean)_on_grpo_episode_baseline", _ppo),
    (rf"ppo_clip_loss_eps([\d.]+)_dual([\d.]+)_({_AGGREGATIONS})_row_per_step", _ppo),
    (r"ppo_clip_fraction", _clip_fraction),
    (r"rloo_episode_baseline", lambda batch: credit.make("rloo")(batch).advantages),
    (r"reinforce_pp_baseline_episode", lambda batch: credit.make("reinforce_pp")(batch).advantages),
    (r"gigpo_(mean_norm|mean_std_norm)_g([\d.]+)_w([\d.]+)", _gigpo),
    (r"hgpo_K(\d+)_g([\d.]+)_alpha([\d.]+)", _hgpo),
    (r"discounted_returns_g([\d.]+)", _returns),
    (r"rlsd_lam([\d.]+)_eps([\d.]+)_on_grpo_episode_baseline", _rlsd),
    (r"sdar_loss_beta([\d.]+)_token_mean", lambda batch, beta: _term(batch, "sdar", gate_beta=float(beta))),
    (r"grpo_opsd_loss_beta0_token_mean", lambda batch: _term(batch, "grpo_opsd")),
    (r"skillsd_loss_token_mean", lambda batch: _term(batch, "skill_sd")),
)
"""Patterns of names, each with the function that computes the value from a batch and the matched groups."""


def compare(goldens: Sequence[Golden]) -> dict[str, Any]:
    """The largest difference of every name that can be computed, over batches and layouts."""
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
    """The expected values of a step, per token; a single number applies to all its tokens."""
    return given if isinstance(given, list) else [given] * size


def _difference(golden: Golden, batch: Batch, value: Tensor, name: str) -> float:
    """The largest absolute difference over tokens, or a number's relative difference; infinite for NaN."""
    expected = golden.expected[name]
    if isinstance(expected, list) != (value.dim() == 2):
        raise BadInputError(f"expected[{name!r}] must be {'a list' if value.dim() == 2 else 'one number'}")
    if not isinstance(expected, list):
        difference = abs(float(value) - expected) / max(abs(expected), 1e-12)
    else:
        chosen = [value[batch.tokens.step_of_token == place].double() for place in golden.place]
        steps = zip(expected, chosen, strict=True)
        flat = [number for given, values in steps for number in _per_token(given, len(values))]
        target = torch.tensor(flat, dtype=torch.float64)
        difference = float((torch.cat(chosen) - target).abs().max())
    return math.inf if math.isnan(difference) else difference


if __name__ == "__main__":
    sys.exit(main())
