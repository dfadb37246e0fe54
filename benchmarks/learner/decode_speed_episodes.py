"""Whole rollouts by the built-in decoder and by the padded one: episodes of ALFWorld, as in an update."""

import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import gymnasium as gym
from transformers.cache_utils import DynamicLayer

from benchmarks.runs.demo_episodes import demo_config
from stepopsd_agent.models import Policy
from stepopsd_agent.rollout import (
    Attempt,
    KeyValueCache,
    LanguageModel,
    PaddedDecoder,
    SamplingParams,
    begin,
    groups,
    play,
    rollout,
)
from stepopsd_agent.tasks import make_stack
from stepopsd_wrappers import Episode

GROUP = 8


class Concatenated(KeyValueCache):
    """The cache of a decoder with layers of transformers, which copy what they hold for every token."""

    def __init__(self) -> None:
        """Begin without rows."""
        super().__init__()
        self.layer_class_to_replicate = DynamicLayer


def copying(policy: Policy, slots: int, params: SamplingParams) -> PaddedDecoder:
    """A padded decoder, whose rows wait for each other, with a cache that copies itself."""
    decoder = PaddedDecoder(policy, slots, params)
    decoder.cache = Concatenated()
    return decoder


def played(
    policy: Policy, envs: Sequence[gym.Env[str, str]], attempts: Sequence[Attempt], *, padded: bool
) -> list[Episode]:
    """Every attempt once, by the built-in decoder, or by the padded one that copies."""
    settings = demo_config(1).rollout
    params = SamplingParams(max_tokens=settings.max_tokens, max_row_tokens=settings.max_row_tokens)
    if padded:
        return play(LanguageModel(policy, params, "speed", copying), envs, attempts)
    return rollout(policy, envs, attempts, params, seed="speed")


def ids_of(episodes: Sequence[Episode]) -> list[list[int]]:
    """Sampled ids of each episode, one response after another."""
    steps = ([step.tokens.sampled_ids for step in e.steps if step.tokens] for e in episodes)
    return [[token for ids in responses for token in ids] for responses in steps]


def measured_episodes(
    policy: Policy, rows: int, turns: int, rounds: int, equal: Callable[[Any, Any], float]
) -> dict[str, Any]:
    """Sampled tokens per second of both ways, environments included, in the form of `decode_speed.measured`.

    Groups of `GROUP` attempts at one game, at temperature 1, ``rows`` side by side, up to ``turns`` steps.
    Seconds are those of the processor, which other work on the machine changes least.
    """
    envs = [make_stack(demo_config(turns).env) for _ in range(rows)]
    ways = {"built_in": False, "concatenated": True}
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    same, responses = list[float](), list[int]()
    for number in range(rounds):
        attempts, found = groups(envs[0], count=-(-rows // GROUP), size=GROUP, seed=number)[:rows], dict()
        for env, attempt in zip(envs, attempts, strict=True):  # so that both ways find the games made
            begin(env, attempt)
        for name, padded in ways.items():
            began = time.process_time()
            episodes = played(policy, envs, attempts, padded=padded)
            seconds = time.process_time() - began
            found[name] = ids_of(episodes)
            speeds[name].append(sum(map(len, found[name])) / seconds)
            print(f"round {number + 1}: episodes, {name} {speeds[name][-1]:,.0f} tokens/s", file=sys.stderr)
        same.append(equal(found["built_in"], found["concatenated"]))
        responses += [len(step.tokens.sampled_ids) for e in episodes for step in e.steps if step.tokens]
    ratio = median(a / b for a, b in zip(*speeds.values(), strict=True))
    return {
        "rows": rows, "turns": turns, "rounds": rounds,
        "response": [min(responses), max(responses)],
        "tokens_per_s": {name: round(median(one), 1) for name, one in speeds.items()},
        "times": {"concatenated": round(ratio, 2)},
        "equal": {"concatenated": min(same)},
    }  # fmt: skip
