"""Speed of the Search-QA environment without retrieval, and the cost of long texts.

``python -m benchmarks.search_qa.env [--json OUT] [--short]`` plays episodes of the synthetic worlds through
``gym.make`` with full info, resets included: one invalid action, three searches and the answer, with
thoughts. The passages are as long as those of wiki-18 (100 words) and come from a table, so retrieval is not
timed. For comparison there are the same episodes with the default retriever, which caches earlier queries,
the parts of a step, and the time to make the environment in this process.

The last line has the figures; the exit code is 1 if the target of steps per second is missed. Times are CPU
seconds; each part is repeated, the best counts and the median is in the JSON. ``--short`` has fewer repeats.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from itertools import chain, islice
from pathlib import Path
from statistics import median
from typing import Any

import gymnasium as gym

import stepopsd_envs  # noqa: F401  (registers the environment)
from benchmarks.output import write_result
from stepopsd_envs.search_qa.env import SearchQAEnv
from stepopsd_envs.search_qa.protocol import information, parse
from stepopsd_envs.search_qa.retrieval.base import Passage
from stepopsd_envs.search_qa.scoring import exact_match
from stepopsd_envs.search_qa.world_set import all_passages

ENV_ID = "stepopsd/SearchQA-v0"
LEAST_STEPS_PER_S = 20_000
WORDS = 100  # words in a passage
LONG = 10_000_000  # characters
THOUGHT = "<think>To answer this I have to find out who that is, and then where the company is.</think>"

Episode = tuple[str, list[str]]  # the question's id, and the actions


class Table:
    """A retriever that takes passages from a table, in no time."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = passages

    @property
    def fingerprint(self) -> str:
        """A constant, since there is only one table."""
        return "table"

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """Passages that depend only on the length of the query."""
        starts = [7 * len(query) % (len(self._passages) - k) for query in queries]
        return [list(self._passages[start : start + k]) for start in starts]

    def close(self) -> None:
        """Do nothing."""


def long_passages() -> list[Passage]:
    """Passages of 100 words, from the concatenated passages of small worlds."""
    passages = all_passages("small", "test")
    words = chain.from_iterable(passage.text.split() for passage in passages)
    texts = [" ".join(islice(words, WORDS)) for _ in passages[::5]]  # each has more than 20 words
    return [Passage(f"long{n}", passages[n].title, text) for n, text in enumerate(texts)]


def episodes(env: SearchQAEnv, count: int) -> list[Episode]:
    """Questions with five actions each: one invalid, three searches, the answer."""
    plays = []
    for task_id in env.task_ids[:count]:
        env.reset(seed=0, options={"question": task_id})
        question = env.question
        queries = [question.question, *(hop.query for hop in question.hops)]
        searches = [f"{THOUGHT}\n<search>{queries[k % len(queries)]}</search>" for k in range(3)]
        actions = ["Let me see.", *searches, f"{THOUGHT}\n<answer>{question.golden_answers[0]}</answer>"]
        plays.append((task_id, actions))
    return plays


def steps_per_s(env: gym.Env[str, str], plays: Sequence[Episode], repeats: int) -> list[float]:
    """Steps per second in each repetition of all episodes, resets included."""
    count = sum(len(actions) for _, actions in plays)
    return [count / _seconds(lambda: _play(env, plays)) for _ in range(repeats)]


def _play(env: gym.Env[str, str], plays: Sequence[Episode]) -> None:
    for task_id, actions in plays:
        env.reset(seed=0, options={"question": task_id})
        for action in actions:
            env.step(action)


def _seconds(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


def _microseconds(call: Callable[[], object], count: int) -> float:
    return 1e6 * min(_seconds(lambda: [call() for _ in range(count)]) for _ in range(3)) / count


def measure(plays: int, repeats: int) -> dict[str, Any]:
    """All figures."""
    opening_s = _seconds(lambda: gym.make(ENV_ID).close())
    base = SearchQAEnv()
    chosen = episodes(base, plays)
    passages = long_passages()
    alone = steps_per_s(gym.make(ENV_ID, retriever=Table(passages)), chosen, repeats)
    searching = steps_per_s(gym.make(ENV_ID), chosen, repeats)
    response, long = chosen[0][1][1], "word " * (LONG // 5)
    return {
        "steps_per_s": max(alone),
        "median_steps_per_s": median(alone),
        "first_steps_per_s_bm25": searching[0],
        "steps_per_s_bm25": max(searching),
        "parse_us": _microseconds(lambda: parse(response), 2_000),
        "information_us": _microseconds(lambda: information(passages[:3], 2_400), 2_000),
        "exact_match_us": _microseconds(lambda: exact_match("Ada Brenk", ["Port Lorn", "the Wend"]), 2_000),
        "opening_s": opening_s,
        "parse_10_mb_s": _seconds(lambda: parse(f"<answer>{long}</answer>")),
        "information_10_mb_s": _seconds(lambda: information([Passage("p", long, long)] * 3, 2_400)),
        "episodes": len(chosen),
        "passage_words": WORDS,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.search_qa.env", description="Speed of Search-QA.")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--short", action="store_true", help="fewer episodes and repeats")
    arguments = parser.parse_args(argv)
    figures = measure(*((100, 5) if arguments.short else (500, 15)))
    missed = figures["steps_per_s"] < LEAST_STEPS_PER_S
    if arguments.json:
        write_result(arguments.json, {"missed": missed, **figures}, "python -m benchmarks.search_qa.env")
    print(
        f"parse {figures['parse_us']:.1f} us, three passages {figures['information_us']:.1f} us, exact match "
        f"{figures['exact_match_us']:.1f} us; 10 MB: parse {figures['parse_10_mb_s']:.2f} s, passages "
        f"{figures['information_10_mb_s']:.2f} s; opening {figures['opening_s']:.2f} s"
    )
    print(
        f"{figures['steps_per_s']:,.0f} steps/s without retrieval (at least {LEAST_STEPS_PER_S:,}"
        f"{', MISSED' if missed else ''}); with bm25 {figures['first_steps_per_s_bm25']:,.0f}, asked again "
        f"{figures['steps_per_s_bm25']:,.0f}"
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
