"""The update of a published model's shape on a GPU: utilisation of the device, and cost of the teacher.

    python -m benchmarks.learner.gpu_update [--json OUT] [--tokens 16384]
    python -m benchmarks.learner.gpu_update --tiny      # a tiny shape on the CPU, to try it out; no targets

The benchmark uses the recipe paper/alfworld_qwen3_1.7b with random weights in bfloat16, and as
many random episodes of 20 steps as one update of the recipe has. Prompts are as long as those of an expert's
episodes, responses have 64 tokens. A first round on a few rows compiles and warms up.

Targets: the update reaches at least 40 % of the operations per second of a large bfloat16 matrix product on
the same device (layers recomputed by checkpointing count; the second figure leaves them out); scoring with
`correctness` inline, including loading the teacher's weights, takes less than 30 % of the update's time; the
peak of memory is within 10 % of the estimate of `stepopsd plan`. The exit code is 1 if one is missed.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from transformers import AutoModelForCausalLM

from benchmarks.output import write_result
from stepopsd_agent import credit
from stepopsd_agent.batch import Batch, batch_from_lists
from stepopsd_agent.config import ModelConfig, RunConfig, config_from_dict, recipe
from stepopsd_agent.hindsight import batch_logprobs
from stepopsd_agent.learner import Learner
from stepopsd_agent.models import Policy, Scorer, tiny_policy, weight_type
from stepopsd_agent.run.planning import (
    Lengths,
    expected_lengths,
    longest_row,
    measured_rates,
    memory_by_part,
    model_configuration,
    model_shape,
    pass_flops,
    update_passes,
)

COMMAND = "python -m benchmarks.learner.gpu_update"
CONFIG = recipe("paper/alfworld_qwen3_1.7b")
STEPS, RESPONSE = 20, 64
SHARE, TEACHER, MEMORY = 0.4, 0.3, 0.1
TINY = ModelConfig(hidden_size=64, num_layers=2, num_heads=2, head_dim=32, vocab_size=512)


@dataclass(frozen=True)
class Bench:
    """The setting of the measurement: recipe, model and lengths."""

    config: RunConfig
    policy: Policy
    lengths: Lengths


def settings(tiny: bool, tokens: int) -> RunConfig:
    """The published settings for one update; if ``tiny``, few short episodes on the CPU."""
    values = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    del values["credit"]
    config = config_from_dict(values)
    config.env = config.env.changed(games="generated", tier="full")  # source of prompt lengths
    config.hindsight.mode = "correctness"
    config.rollout.slots = 1  # there is no rollout here, so the plan of memory must not include one
    config.learner.tokens_per_micro_batch = tokens
    if tiny:
        config.device, config.model = "cpu", TINY
        config.rollout.tasks, config.rollout.group_size, config.learner.mini_batches = 1, 2, 2
    return config


def random_policy(config: RunConfig) -> Policy:
    """A model of the configured shape with random weights, and a tiny tokenizer."""
    small = tiny_policy(["a small house"], TINY, "cpu", config.seed)
    if config.model.path == "tiny":
        return Policy(small.model, small.tokenizer, config.device)
    with torch.device(config.device):
        model = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            model_configuration(config.model), dtype=weight_type(config.model.dtype, config.device)
        )
    return Policy(model, small.tokenizer, config.device)


def made_up(config: RunConfig, lengths: Lengths, vocabulary: int, tasks: int) -> Batch:
    """Episodes of random tokens, with a row per step as in the recipe; every second episode wins."""
    rng = np.random.default_rng(config.seed)
    rows: list[Any] = []
    steps: list[Any] = []
    episodes: list[Any] = []
    for number in range(tasks * config.rollout.group_size):
        for index in range(1, round(lengths.steps) + 1):
            read = round(lengths.first if index == 1 else lengths.further)
            ids = rng.integers(0, vocabulary, read + round(lengths.response)).tolist()
            owner = [-1] * read + [len(steps)] * round(lengths.response)
            # About the log-probability that random weights give to any token.
            old = [0.0 if step < 0 else -float(np.log(vocabulary)) for step in owner]
            rows.append({"input_ids": ids, "step_of_token": owner, "old_logprobs": old})
            steps.append(
                {
                    "episode_of_step": number, "index_in_episode": index, "reward": 0.0, "anchor": index,
                    "state": len(steps), "valid": True, "kind": 1,
                }
            )  # fmt: skip
        won = bool(number % 2)
        group = number // config.rollout.group_size
        episodes.append({"group_of_episode": group, "episode_return": float(won), "success": won})
    batch = batch_from_lists(rows, steps, episodes)
    known = batch.tokens.old_logprobs
    return batch.with_columns(student_logprobs=known, ref_logprobs=known).to(config.device)


def timed(policy: Policy, work: Callable[[], object]) -> float:
    """Seconds of wall time."""
    _wait(policy)
    began = time.perf_counter()
    work()
    _wait(policy)
    return time.perf_counter() - began


def _wait(policy: Policy) -> None:
    if policy.device.type == "cuda":
        torch.cuda.synchronize()


def scored(bench: Bench, batch: Batch, teacher: dict[str, torch.Tensor], scorer: Scorer) -> Batch:
    """The batch with the log-probs of the hindsight teacher, whose weights are loaded only for this."""
    blocks = [[7] * round(bench.lengths.block)] * batch.num_episodes
    with bench.policy.weights(teacher):
        logprobs = batch_logprobs(scorer, batch, blocks)
    return batch.with_columns(teacher_logprobs=logprobs)


def one_update(
    bench: Bench, tasks: int, learner: Learner, teacher: dict[str, torch.Tensor], scorer: Scorer
) -> dict[str, float]:
    """Seconds of scoring and of updating on the episodes of ``tasks`` tasks."""
    policy = bench.policy
    batch = made_up(bench.config, bench.lengths, int(policy.model.config.vocab_size), tasks)
    known: list[Batch] = []
    scoring = timed(policy, lambda: known.append(scored(bench, batch, teacher, scorer)))
    assigned = credit.make("step_opsd")(known[0])
    return {"teacher": scoring, "update": timed(policy, lambda: learner.update(known[0], assigned))}


def measure(bench: Bench) -> dict[str, Any]:
    """Warm up, then score and update once with a full update's episodes."""
    config, policy = bench.config, bench.policy
    rates = measured_rates(policy.device, policy.model.dtype)
    learner, teacher = Learner(policy, **config.learner.of_update()), policy.state()
    scorer = Scorer(policy, tokens_per_pass=config.learner.tokens_per_micro_batch)
    one_update(bench, 1, learner, teacher, scorer)
    scorer.budget.take(), learner.budget.take()
    on_cuda = policy.device.type == "cuda"
    if on_cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds = one_update(bench, config.rollout.tasks, learner, teacher, scorer)
    peak = torch.cuda.max_memory_allocated() if on_cuda else None
    tokens = {"teacher": scorer.budget.take(), "update": learner.budget.take()}
    return figures_of(bench, seconds, tokens, rates.flops, peak)


def figures_of(
    bench: Bench, seconds: dict[str, float], tokens: dict[str, int], flops: float, peak: int | None
) -> dict[str, Any]:
    """Shares and ratios from the measured values."""
    config, lengths, dtype = bench.config, bench.lengths, bench.policy.model.dtype
    shape = model_shape(config.model, config.learner.lora, dtype)
    sampled = config.rollout.tasks * config.rollout.group_size * lengths.steps * lengths.response
    forward = pass_flops(shape, tokens["update"], sampled, longest_row(config, shape, lengths) / 2)
    per_second = forward / seconds["update"]
    planned = memory_by_part(config, shape, lengths, dtype.itemsize)["at most at once"]
    return {
        "model": config.model.path,
        "parameters": shape.parameters,
        "dtype": str(dtype),
        "lengths": asdict(lengths),
        "episodes": config.rollout.tasks * config.rollout.group_size,
        "tokens_per_pass": config.learner.tokens_per_micro_batch,
        "tokens": tokens,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "matmul_tflops": round(flops / 1e12, 3),
        "share_of_matmul_rate": round(update_passes(config) * per_second / flops, 4),
        "share_without_recomputed": round(3 * per_second / flops, 4),
        "teacher_of_update": round(seconds["teacher"] / seconds["update"], 4),
        "memory_planned": planned,
        "memory_peak": peak,
        "memory_of_plan": None if peak is None else round(peak / planned, 4),
    }


def missed(figures: dict[str, Any]) -> list[str]:
    """The missed targets, in words."""
    memory = figures["memory_of_plan"]
    reached = {
        f"{SHARE:.0%} of the matmul rate": figures["share_of_matmul_rate"] >= SHARE,
        f"scoring below {TEACHER:.0%} of the update": figures["teacher_of_update"] < TEACHER,
        f"memory within {MEMORY:.0%} of the plan": memory is not None and abs(memory - 1) <= MEMORY,
    }
    return [target for target, good in reached.items() if not good]


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="The update of a 1.7 B model on a GPU.")
    parser.add_argument("--json", type=Path, default=None, help="also write the figures here")
    parser.add_argument("--tokens", type=int, default=16384, help="tokens per pass (default: 16384)")
    parser.add_argument("--tiny", action="store_true", help="a tiny shape on the CPU, without targets")
    arguments = parser.parse_args()
    if not arguments.tiny and not torch.cuda.is_available():
        print("gpu_update: no CUDA device here; --tiny tries the same on the CPU", file=sys.stderr)
        return 2
    config = settings(arguments.tiny, arguments.tokens)
    lengths, _ = expected_lengths(config, STEPS, RESPONSE)
    figures = measure(Bench(config, random_policy(config), lengths))
    if arguments.json:
        write_result(arguments.json, figures, COMMAND + " --tiny" * arguments.tiny)
    memory = figures["memory_of_plan"]
    print(
        f"{figures['model']}, {figures['episodes']} episodes of {STEPS} steps: update in "
        f"{figures['seconds']['update']} s at {figures['share_of_matmul_rate']:.1%} of "
        f"{figures['matmul_tflops']} TFLOP/s ({figures['share_without_recomputed']:.1%} without recomputed "
        f"layers); scoring takes {figures['teacher_of_update']:.1%} of its time; memory: "
        f"{'not counted on a CPU' if memory is None else f'{memory:.1%} of the plan'}"
    )
    if arguments.tiny:
        return 0
    for target in missed(figures):
        print(f"missed: {target}", file=sys.stderr)
    return 1 if missed(figures) else 0


if __name__ == "__main__":
    raise SystemExit(main())
