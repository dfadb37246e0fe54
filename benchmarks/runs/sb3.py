"""MaskablePPO and DQN of stable-baselines3 on generated games, compared with the random agent and the oracle.

    python -m benchmarks.runs.sb3 --out runs/sb3 [--seeds 0,1] [--algorithms DQN] [--json OUT] [--picture OUT]

Runs the examples ``sb3_maskable_ppo.py`` and ``sb3_dqn.py`` unchanged, one after the other on one core:
trained on ``tiny`` games, evaluated on held-out ones. Finished runs in ``--out`` are not repeated. The exit
code is 1 unless each run ends at least 30 points above the random agent, and reached that within ten minutes
of CPU time. Needs the extra ``sb3``.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.output import write_result
from benchmarks.runs.commands import together
from benchmarks.runs.sb3_picture import draw_curves
from stepopsd_agent.config import EnvConfig
from stepopsd_agent.ops import proportion
from stepopsd_agent.rollout import play_agent, success_table, table_text
from stepopsd_agent.run.files import write_bytes_atomic
from stepopsd_agent.tasks import make_plain_env, task_ids
from stepopsd_agent.tasks.agents import Agent, OracleAgent, RandomAgent

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ALGORITHMS = {"MaskablePPO": "sb3_maskable_ppo", "DQN": "sb3_dqn"}
MINUTES, POINTS = 10.0, 0.3
"""The target: success of so much above the random agent within so many minutes of CPU time."""

Curve = list[dict[str, float]]


def train(
    out: Path, seeds: Sequence[int], more: Sequence[str], algorithms: Sequence[str] = tuple(ALGORITHMS)
) -> dict[str, dict[str, Curve]]:
    """The learning curve of each algorithm and seed; those that are finished are read.

    Args:
        out: folder; each run has a folder below it, with ``finished`` when it ended.
        seeds: one run of each algorithm for each seed.
        more: further arguments of the examples.
        algorithms: which to train.
    """
    curves: dict[str, dict[str, Curve]] = {}
    for seed in seeds:
        for name in algorithms:
            folder = out / f"{name}-{seed}"
            if not (folder / "finished").exists():
                example = str(EXAMPLES / f"{ALGORITHMS[name]}.py")
                arguments = [example, f"--seed={seed}", f"--out={folder}", *more]
                together({name: [sys.executable, *arguments]})
                (folder / "finished").touch()
            curve = json.loads((folder / "curve.json").read_text(encoding="utf-8"))
            curves.setdefault(name, {})[str(seed)] = curve
    return curves


def beside(games: int) -> dict[str, dict[str, Any]]:
    """The random agent and the oracle on the same held-out games."""
    env = make_plain_env(EnvConfig(arguments={"tier": "tiny", "split": "test", "num_games": games}))
    agents: dict[str, Agent] = {"random agent": RandomAgent(), "oracle": OracleAgent(env)}
    tables = {name: success_table(play_agent(a, env, task_ids(env), seed=0)) for name, a in agents.items()}
    return {name: {key: table[key] for key in ("success", "n", "ci95")} for name, table in tables.items()}


def at_the_limit(games: int) -> dict[str, float]:
    """Rewards of "optimal_distance" at the last step of random play that the step limit truncates.

    They are why the examples use `DistanceReward`: algorithms that bootstrap from the value of the last state
    credit them to the last command. ``lost`` is the share of episodes that could no longer be won.
    """
    arguments = {"tier": "tiny", "num_games": games, "reward": "optimal_distance", "oracle": True}
    env = make_plain_env(EnvConfig(arguments=arguments))
    ends = [episode.steps[-1] for episode in play_agent(RandomAgent(), env, task_ids(env), seed=0)]
    paid = [end.reward for end in ends if end.truncated]
    lost = [end.info["optimal_distance"] < 0 for end in ends if end.truncated]
    return {"n": len(paid), "mean": mean(paid), "max": max(paid), "lost": mean(lost)}


def in_time(curve: Curve, minutes: float = MINUTES) -> dict[str, float]:
    """The last evaluation within so many minutes of CPU time."""
    return [row for row in curve if row["seconds"] <= 60 * minutes][-1]


def summarise(
    curves: Mapping[str, Mapping[str, Curve]], references: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """One row for every agent; for a trained one the last evaluation, and the last within the time limit."""
    rows = dict(references)
    for name, runs in curves.items():
        for seed, curve in runs.items():
            last, early = curve[-1], in_time(curve)
            games = int(last["tasks"])
            rows[f"{name}, seed {seed}"] = {
                **proportion(round(last["success"] * games), games),
                "steps": int(last["steps"]),
                "seconds": last["seconds"],
                "in_time": early["success"],
            }
    mark = references["random agent"]["success"] + POINTS
    reached = all(min(row["success"], row["in_time"]) >= mark for row in rows.values() if "in_time" in row)
    return {
        "schema": "stepopsd.sb3/1",
        "rows": rows,
        "curves": {name: dict(runs) for name, runs in curves.items()},
        "minutes": MINUTES,
        "points": POINTS,
        "reached": reached,
    }


def main() -> int:
    """Train, play, write, draw."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.runs.sb3", description="Train MaskablePPO and DQN on generated games."
    )
    parser.add_argument("--out", type=Path, default=Path("runs/sb3"), help="folder of the runs")
    parser.add_argument("--seeds", default="0", help="seeds of the runs, separated by commas")
    parser.add_argument("--algorithms", nargs="+", choices=list(ALGORITHMS), default=list(ALGORITHMS))
    parser.add_argument("--games", type=int, default=100, help="held-out games of each evaluation")
    parser.add_argument(
        "--steps", type=int, default=None, help="training steps; default: those of the examples"
    )
    parser.add_argument("--json", type=Path, default=None, help="write the result here")
    parser.add_argument("--picture", type=Path, default=None, help="draw the curves here, as PNG")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    more = [f"--games={options.games}"]
    more += [] if options.steps is None else [f"--steps={options.steps}"]
    curves = train(options.out, seeds, more, options.algorithms)
    result = {**summarise(curves, beside(options.games)), "paid_at_the_limit": at_the_limit(options.games)}
    if options.json is not None:
        flags = [f"--seeds {options.seeds}", *(flag.replace("=", " ") for flag in more)]
        if options.algorithms != list(ALGORITHMS):
            flags.append(f"--algorithms {' '.join(options.algorithms)}")
        write_result(options.json, result, f"python -m benchmarks.runs.sb3 {' '.join(flags)}")
    if options.picture is not None:
        write_bytes_atomic(options.picture, draw_curves(result))
    print(table_text("agent", result["rows"]))
    return 0 if result["reached"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
