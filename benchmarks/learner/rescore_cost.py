"""Cost of hindsight scoring with contexts that share prefixes, and without sharing.

``python -m benchmarks.learner.rescore_cost [--json OUT] [--short]`` plays episodes of 20 steps with the
settings of the demonstration and a briefly cloned model of its size. It scores every step behind a hindsight
block in three ways, with the same budget of tokens per pass: as a prefix tree per episode, and as one row per
step with its whole context, packed and padded.

Targets with `correctness` inline: at least 5 times fewer tokens and 3 times less time than the faster rows;
log-probs equal within 1e-5 of 1 plus their size in float32 (packed and padded rows differ as much), and
within 1e-9 in float64. With the block as a prefix: teacher and student together at most 2.2 times the tokens
of one plain pass. A peer as long as the episode, inline, and the update of the demonstration, packed and
padded, are measured without targets.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.output import write_result
from benchmarks.runs.demo_episodes import demo_config, demo_episodes, demo_policy
from stepopsd_agent.batch import Batch, collate
from stepopsd_agent.config import Attention, HindsightConfig
from stepopsd_agent.credit import Credit
from stepopsd_agent.hindsight import batch_logprobs, block_ids, row_tree, step_ranges
from stepopsd_agent.learner import Learner
from stepopsd_agent.models import Policy, Scorer
from stepopsd_agent.models.packed import Tree, sampled
from stepopsd_wrappers import Episode

STEPS = 20
FEWER_TOKENS, LESS_TIME, PREFIX = 5.0, 3.0, 2.2
CLOSE, EXACT = 1e-5, 1e-9
COMMAND = "python -m benchmarks.learner.rescore_cost"
Blocks = Sequence[Sequence[int]]


def step_rows(batch: Batch, blocks: Blocks) -> tuple[list[Tree], list[list[tuple[int, int]]]]:
    """One row per step with its full context, and the positions of its scores in the batch."""
    rows, places = [], []
    for n in range(batch.num_rows):
        length = int(batch.tokens.attention_mask[n].sum())
        ids = tuple(batch.tokens.input_ids[n, :length].tolist())
        steps = batch.tokens.step_of_token[n, :length].tolist()
        for start, end in step_ranges(steps):
            block = tuple(blocks[int(batch.steps.episode_of_step[steps[start]])])
            context = ids[:start] + block
            rows.append(
                Tree(
                    context + ids[start:end],
                    scored=tuple(range(len(context), len(context) + end - start)),
                )
            )
            places.append([(n, column) for column in range(start, end)])
    return rows, places


def by_rows(scorer: Scorer, batch: Batch, blocks: Blocks) -> Tensor:
    """Log-probs [N, T], scored with one row per step."""
    policy = scorer.model
    rows, places = step_rows(batch, blocks)
    out = torch.zeros(batch.tokens.input_ids.shape, dtype=policy.model.dtype, device=policy.device)
    read = scorer.read(rows, sampled)
    for where, (logprobs,) in zip(places, read, strict=True):
        index = torch.tensor(where, device=policy.device)
        out[index[:, 0], index[:, 1]] = logprobs
    return out


def seconds(policy: Policy, work: Callable[[], Any]) -> float:
    """CPU seconds, or seconds of wall time if a GPU does the work."""
    clock = time.perf_counter if policy.device.type == "cuda" else time.process_time
    began = clock()
    work()
    if policy.device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - began


def best(policy: Policy, works: Sequence[Callable[[], Any]], rounds: int) -> list[float]:
    """The least seconds of each work, in alternation, after one round that is not counted."""
    times = [[seconds(policy, work) for work in works] for _ in range(rounds + 1)]
    return [min(column) for column in zip(*times[1:], strict=True)]


def inline(
    policy: Policy, batch: Batch, blocks: Blocks, tokens: int, rounds: int, padded: bool = True
) -> dict[str, Any]:
    """Tokens, seconds and the largest difference between trees and rows."""
    backends: tuple[Attention, ...] = ("auto", "auto", "padded")
    scorers = [Scorer(policy, tokens_per_pass=tokens, attention=backend) for backend in backends]
    budgets = [scorer.budget for scorer in scorers]

    def tree() -> Tensor:
        return batch_logprobs(scorers[0], batch, blocks)

    def packed() -> Tensor:
        return by_rows(scorers[1], batch, blocks)

    def common() -> Tensor:
        return by_rows(scorers[2], batch, blocks)

    one, other, noise = tree(), packed(), common()
    works = [tree, packed, common] if padded else [tree, packed]
    for budget in budgets:
        budget.take()
    times = best(policy, works, rounds)
    counts = [budget.take() // (rounds + 1) for budget in budgets[: len(works)]]
    names = ["tree", "row_per_step", "row_per_step_padded"]
    return {
        "hindsight_tokens": max(map(len, blocks)),
        "tokens": dict(zip(names, counts, strict=False)),
        "seconds": {name: round(s, 4) for name, s in zip(names, times, strict=False)},
        "fewer_tokens": round(counts[1] / counts[0], 2),
        "less_time": round(min(times[1:]) / times[0], 2),
        "largest_difference": float((one - other).abs().max()),
        "rows_packed_against_padded": float((noise - other).abs().max()),
    }


def in_double(policy: Policy, batch: Batch, blocks: Blocks, tokens: int) -> float:
    """The largest difference between trees and rows in float64."""
    policy.model.double()
    scorer = Scorer(policy, tokens_per_pass=tokens)
    tree = batch_logprobs(scorer, batch, blocks)
    rows = by_rows(scorer, batch, blocks)
    policy.model.float()  # type: ignore[no-untyped-call]
    return float((tree - rows).abs().max())


def prefix(policy: Policy, batch: Batch, blocks: Blocks, tokens: int) -> dict[str, Any]:
    """Tokens of teacher and student passes with a prefix, relative to one plain pass."""
    none: list[list[int]] = [[] for _ in blocks]
    plain = sum(len(row_tree(batch, n, none, "prefix")[0]) for n in range(batch.num_rows))
    scorer = Scorer(policy, tokens_per_pass=tokens)
    batch_logprobs(scorer, batch, blocks, "prefix")
    teacher = scorer.budget.take()
    return {"plain": plain, "teacher": teacher, "over_plain": round((teacher + plain) / plain, 3)}


def update(policy: Policy, batch: Batch, rounds: int) -> dict[str, Any]:
    """Seconds of the demonstration's update: packed, padded with 16384 tokens per pass, and padded."""
    settings = {**demo_config(STEPS).learner.of_update(), "lr": 0.0, "muon_lr": 0.0, "weight_decay": 0.0}
    padded = {**settings, "attention": "padded"}
    ways = {
        "packed": Learner(policy, **settings),
        "padded": Learner(policy, **{**padded, "tokens_per_micro_batch": 16384}),
        "padded_same_budget": Learner(policy, **padded),
    }
    credit = Credit(torch.where(batch.action_mask, 1.0, 0.0))
    works = [lambda one=one: one.update(batch, credit) for one in ways.values()]
    times = dict(zip(ways, best(policy, works, rounds), strict=True))
    return {
        "seconds": {name: round(s, 4) for name, s in times.items()},
        "padded_over_packed": round(times["padded"] / times["packed"], 2),
        "padded_same_budget_over_packed": round(times["padded_same_budget"] / times["packed"], 2),
    }


def correctness_blocks(policy: Policy, episodes: Sequence[Episode]) -> Blocks:
    """The hindsight block of `correctness` for each episode."""
    return [block_ids(policy, HindsightConfig(mode="correctness"), e.success, None) for e in episodes]


def peer_blocks(policy: Policy, batch: Batch, episodes: Sequence[Episode]) -> Blocks:
    """For each episode the transcript of another one, cut to the length of the episode in tokens."""
    lengths = batch.tokens.attention_mask.sum(1).tolist()
    return [
        block_ids(
            policy,
            HindsightConfig(mode="peer", max_peer_tokens=length),
            False,
            episodes[(n + 1) % len(episodes)],
        )
        for n, length in enumerate(lengths)
    ]


def measure(short: bool) -> dict[str, Any]:
    """Play, then score in every way."""
    config = demo_config(STEPS)
    policy = demo_policy(config, 60 if short else 400)
    played = demo_episodes(policy, config, tasks=2 if short else 8)
    episodes = [e for e in played if e.num_steps == STEPS]
    rounds = 2 if short else 3
    batch = collate(episodes, policy.pad_id).to(policy.device)
    few = episodes[:4]
    small = collate(few, policy.pad_id).to(policy.device)
    tokens = Scorer(policy, tokens_per_pass=config.learner.tokens_per_micro_batch).budget.tokens
    blocks = correctness_blocks(policy, episodes)
    return {
        "steps_per_episode": STEPS,
        "episodes": len(episodes),
        "tokens_per_episode": round(int(batch.tokens.attention_mask.sum()) / len(episodes), 1),
        "tokens_per_pass": tokens,
        "correctness_inline": inline(policy, batch, blocks, tokens, rounds),
        "float64_difference": in_double(policy, small, correctness_blocks(policy, few), tokens),
        "correctness_prefix": prefix(policy, batch, blocks, tokens),
        "peer_inline": inline(policy, small, peer_blocks(policy, small, few), tokens, 1, padded=False),
        "update": update(policy, batch, rounds),
    }


def reached(figures: dict[str, Any]) -> bool:
    """Whether all targets are met."""
    one = figures["correctness_inline"]
    return bool(
        one["fewer_tokens"] >= FEWER_TOKENS
        and one["less_time"] >= LESS_TIME
        and one["largest_difference"] <= CLOSE
        and figures["float64_difference"] <= EXACT
        and figures["correctness_prefix"]["over_plain"] <= PREFIX
    )


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="The cost of hindsight scoring.")
    parser.add_argument("--json", type=Path, default=None, help="also write the figures here")
    parser.add_argument("--short", action="store_true", help="fewer episodes, less than a minute")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    figures = measure(arguments.short)
    if arguments.json:
        write_result(arguments.json, figures, COMMAND + " --short" * arguments.short)
    one, peer = figures["correctness_inline"], figures["peer_inline"]
    for name in ("correctness_inline", "correctness_prefix", "peer_inline", "update"):
        print(f"{name}: {figures[name]}", file=sys.stderr)
    print(
        f"{figures['episodes']} episodes of {STEPS} steps and {figures['tokens_per_episode']} tokens; "
        f"correctness inline ({one['hindsight_tokens']} tokens): {one['fewer_tokens']}x fewer tokens, "
        f"{one['less_time']}x less time, log-probs within {one['largest_difference']:.1e} "
        f"(float64: {figures['float64_difference']:.0e}); prefix: "
        f"{figures['correctness_prefix']['over_plain']}x a plain pass; peer inline "
        f"({peer['hindsight_tokens']} tokens): {peer['fewer_tokens']}x fewer tokens, {peer['less_time']}x "
        f"less time; padded update takes {figures['update']['padded_over_packed']}x as long as packed"
    )
    return 0 if reached(figures) else 1


if __name__ == "__main__":
    raise SystemExit(main())
