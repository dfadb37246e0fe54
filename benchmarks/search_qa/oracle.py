"""Check that every question of the synthetic worlds can be answered by searching, and measure guessing.

``python -m benchmarks.search_qa.oracle [--json OUT] [--short]`` lets the oracle agent play the worlds of all
tiers and splits with the ``bm25`` retriever. Targets: it answers every question correctly, has then seen
every gold passage, and makes at most as many searches as passages are missing at the start. For comparison,
the result also has the share of test questions that are answered correctly without a search, by the most
frequent training answer of their type. The last line has the figures; the exit code is 1 if a target is
missed. ``--short`` plays a part of each set of worlds.
"""

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

import stepopsd_envs  # noqa: F401  (registers the environment)
from benchmarks.output import write_result
from stepopsd_agent.tasks.agents import OracleAgent
from stepopsd_envs.search_qa.env import SearchQAEnv
from stepopsd_envs.search_qa.questions import Question
from stepopsd_envs.search_qa.scoring import exact_match
from stepopsd_envs.search_qa.world import SPLITS, TIERS, make_world, worlds_of

SHORT = 200  # questions of each tier and split


def play(env: gym.Env[str, str], agent: OracleAgent, task_id: str) -> tuple[dict[str, Any], int]:
    """Play one episode; return the last info and the number of gold passages missing at the start."""
    observation, info = env.reset(seed=0, options={"question": task_id})
    base = env.unwrapped
    assert isinstance(base, SearchQAEnv)
    missing = len(set(base.question.supporting) - set(info["retrieved"]))
    agent.reset(0, observation, info)
    over = False
    while not over:
        observation, _, terminated, truncated, info = env.step(agent.act(observation, info))
        over = terminated or truncated
    return info, missing


def play_worlds(tier: str, split: str, limit: int | None) -> tuple[dict[str, Any], list[str]]:
    """The figures of the worlds of a tier and split, and the failed questions."""
    env = gym.make("stepopsd/SearchQA-v0", disable_env_checker=True, tier=tier, split=split)
    base, agent = env.unwrapped, OracleAgent(env)
    assert isinstance(base, SearchQAEnv)
    played, failures = base.task_ids[:limit], []
    em: dict[str, list[float]] = defaultdict(list)
    gold_seen = searches = 0.0
    started = time.perf_counter()
    for task_id in played:
        info, missing = play(env, agent, task_id)
        em[info["task_type"]].append(info["em"])
        gold_seen, searches = gold_seen + info["gold_seen"], searches + info["search_count"]
        if info["em"] < 1.0 or info["gold_seen"] < 1.0 or info["search_count"] > missing:
            failures.append(f"{task_id}: em {info['em']}, gold_seen {info['gold_seen']}, {missing} missing")
    seconds = time.perf_counter() - started
    env.close()
    return {
        "questions": len(played),
        "em": sum(map(sum, em.values())) / len(played),
        "em_by_task_type": {kind: sum(scores) / len(scores) for kind, scores in sorted(em.items())},
        "gold_seen": gold_seen / len(played),
        "searches_per_question": searches / len(played),
        "episodes_per_s": len(played) / seconds,
    }, failures


def asked(tier: str, split: str) -> list[Question]:
    """The questions about all worlds of a tier and split."""
    return [q for number in worlds_of(tier, split) for q in make_world(tier, split, number).questions]


def guessed(train: Sequence[Question], test: Sequence[Question]) -> float:
    """Exact match on test questions of the most frequent training answer of their type."""
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for question in train:
        answers[question.task_type][question.golden_answers[0]] += 1
    guesses = {kind: counts.most_common(1)[0][0] for kind, counts in answers.items()}
    scores = [exact_match(guesses[q.task_type], q.golden_answers) for q in test]
    return sum(scores) / len(scores)


def measure(limit: int | None) -> tuple[dict[str, Any], list[str]]:
    """The figures of all worlds, and the failures."""
    figures: dict[str, Any] = {}
    failures: list[str] = []
    for tier in TIERS:
        for split in SPLITS:
            figures[f"{tier}_{split}"], wrong = play_worlds(tier, split, limit)
            failures += wrong
        figures[f"{tier}_guessed_em"] = guessed(*(asked(tier, split) for split in SPLITS))
    return figures, failures


def summary(figures: dict[str, Any]) -> str:
    """The last line."""
    worlds = {name: value for name, value in figures.items() if isinstance(value, dict)}
    questions = sum(world["questions"] for world in worlds.values())
    guesses = ", ".join(f"{figures[f'{tier}_guessed_em']:.3f} {tier}" for tier in TIERS)
    em, seen = (min(world[name] for world in worlds.values()) for name in ("em", "gold_seen"))
    return (
        f"{questions:,} questions of {len(worlds)} sets of worlds: lowest EM {em:.4f}, "
        f"lowest gold_seen {seen:.4f}, "
        f"{worlds['small_test']['searches_per_question']:.2f} searches per question of small; "
        f"EM of guesses {guesses}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.search_qa.oracle", description="Are all questions soluble?"
    )
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--short", action="store_true", help="a part of each set of worlds")
    arguments = parser.parse_args(argv)
    figures, failures = measure(SHORT if arguments.short else None)
    if arguments.json:
        command = "python -m benchmarks.search_qa.oracle" + " --short" * arguments.short
        write_result(arguments.json, figures | {"failures": failures[:20]}, command)
    print("\n".join(failures[:5]) or "every question answered")
    print(summary(figures))
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
