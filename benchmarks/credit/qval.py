"""Does a signal rank the commands of a state as optimal play would? QVal's question (arXiv 2606.32034).

    python -m benchmarks.credit.qval --out DIR [--set small] [--stage start] [--states N] [--json OUT]

``DIR`` holds the recordings of `benchmarks.credit.record`. States are drawn from lost and won episodes, in
turn, of groups that have both. The recorded commands are replayed, every admissible command is tried, and the
oracle gives the distance to the goal after it: Q(s, a) = 0.95^d(s'), exact, see `accuracy.optimal_q`. Figures
are means over states of Spearman's correlation of a signal and Q over the commands of the state. Equal values
share their mean rank, a signal that is constant in a state counts as 0 there, and states whose commands all
have the same Q are left out. Intervals (95 %) are from a bootstrap over tasks.

Signals are defined for commands that were not given, too: the policy's log-probability of the command; the
gap between the hindsight teacher's log-probability and the policy's, where the teacher reads how the episode
ended and a successful peer; and the gain in value on the graph of the group, which is 0 if neither an attempt
gave the command in this state nor an inferred transition says where it leads. ``--short`` takes 16 states.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.credit.checks import positive
from benchmarks.credit.choices import Choice, choice, chosen_places, oracle_env
from benchmarks.credit.sets import PARTS, SETS, STAGES, Part, Stage, recorded, stage_policy, stages_of
from benchmarks.credit.signals import GroupGraph, mean_return, model_signals, path_values
from benchmarks.output import write_result
from stepopsd_agent.accuracy import Array, Measure, mean, spearman
from stepopsd_agent.models import Scorer
from stepopsd_wrappers import Episode, read_episodes

COMMAND = "python -m benchmarks.credit.qval --out DIR"
GAMMA = 0.95
CONTROLS = (
    "oracle's Q",
    "random order",
    "command changes the world",
    "policy's log-probability",
    "policy's log-probability, per token",
)
KINDS = ("all", "lost", "won")


def row(signal: Sequence[Array], choices: Sequence[Choice]) -> dict[str, Any]:
    """Mean correlation over all states, and over those of lost and of won episodes."""
    found = [spearman(values, one.q) for values, one in zip(signal, choices, strict=True)]

    def over(*outcomes: bool) -> dict[str, Any]:
        kept = [
            (rho, one.place.episode.group)
            for rho, one in zip(found, choices, strict=True)
            if rho is not None and one.place.episode.success in outcomes
        ]
        return vars(mean([rho for rho, _ in kept], [group for _, group in kept]).measure())

    return {"all": over(True, False), "lost": over(False), "won": over(True)}


def graph_signals(
    groups: dict[int, list[Episode]], choices: Sequence[Choice]
) -> tuple[dict[str, list[Array]], dict[str, float]]:
    """The gains on the graphs of the groups, and the share of the commands whose gain is known."""
    kinds: dict[str, Callable[[list[Episode]], GroupGraph]] = {
        "path_gain, text keys": partial(path_values, key="text", inferred=True),
        "path_gain, text keys, ways=false": partial(path_values, key="text", inferred=False),
        "path_gain, state keys": partial(path_values, key="state", inferred=False),
        "path_gain, observation keys": partial(path_values, key="observation", inferred=False),
        "mean return of the place (g2po), text keys": partial(mean_return, key="text"),
    }
    signals, known = dict[str, list[Array]](), dict[str, float]()
    for name, make in kinds.items():
        graphs = {number: make(members) for number, members in groups.items()}
        pairs = [graphs[one.place.episode.group].gains(one) for one in choices]
        signals[name] = [gains for gains, _ in pairs]
        known[name] = float(np.concatenate([some for _, some in pairs]).mean())
    return signals, known


def result(root: Path, name: str, stage: Stage, part: Part, count: int) -> dict[str, Any]:
    """The table of one recording."""
    began, chosen = time.process_time(), SETS[name]
    config = chosen.settings()
    episodes = list(read_episodes(recorded(root, name, stage, part) / "episodes"))
    policy = stage_policy(root, name, stage)
    places = chosen_places(episodes, count, seed=11)
    env = oracle_env(config.env.changed(**chosen.truth, **getattr(chosen, part)))
    choices = [choice(env, place, GAMMA) for place in places]
    print(
        f"{name} {stage} {part}: {len(choices)} states, {time.process_time() - began:.0f} s", file=sys.stderr
    )
    named = {place.episode.group for place in places}
    groups = {number: [one for one in episodes if one.group == number] for number in sorted(named)}
    rng, scorer = np.random.default_rng(0), Scorer(policy, temperature=config.rollout.temperature)
    signals, known = graph_signals(groups, choices)
    signals |= model_signals(policy, scorer, config.hindsight, groups, choices)
    signals |= {
        "oracle's Q": [one.q for one in choices],
        "random order": [rng.permutation(len(one.q)).astype(float) for one in choices],
        "command changes the world": [one.changed for one in choices],
    }
    return {
        "states": len(choices),
        "tasks": len(groups),
        "commands_per_state": float(np.mean([len(one.commands) for one in choices])),
        "worth_the_same": float(np.mean([len(set(one.q.tolist())) == 1 for one in choices])),
        "out_of_time": float(np.mean([not one.in_time for one in choices])),
        "known": known,
        "signals": {name: row(signal, choices) for name, signal in signals.items()},
        "tokens": scorer.budget.take(),
        "cpu_s": round(time.process_time() - began, 1),
    }


def table(found: dict[str, Any]) -> str:
    """The figures as text, the best first."""
    rows = found["signals"]
    lines = [f"{'':46}" + "".join(f"{kind:>26}" for kind in KINDS)]
    for name in sorted(rows, key=lambda one: -rows[one]["all"]["value"]):
        marked = f"[{name}]" if name in CONTROLS else name
        lines.append(f"{marked:46}" + "".join(f"{Measure(**rows[name][kind])!s:>26}" for kind in KINDS))
    return "\n".join(lines)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.credit.qval",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the recordings")
    parser.add_argument("--set", choices=sorted(SETS), default="small", help="task set")
    parser.add_argument(
        "--stage", choices=STAGES, nargs="+", help="stages of training (default: all recorded)"
    )
    parser.add_argument("--part", choices=PARTS, default="test", help="tuning or test tasks")
    parser.add_argument("--states", type=positive, default=320, help="states of each stage")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here")
    parser.add_argument("--short", action="store_true", help="16 states only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        stages = stages_of(options.set, options.stage)
    except ValueError as error:
        parser.error(str(error))
    found: dict[str, Any] = {}
    for stage in stages:
        count = 16 if options.short else options.states
        try:
            one = result(options.out, options.set, stage, options.part, count)
        except FileNotFoundError as error:
            parser.error(str(error))
        found[stage] = one
        print(f"\n{options.set}, {stage}: {one['states']} states of {one['tasks']} tasks")
        print(table(one), flush=True)
        if options.json is not None:  # after every stage, as they take a while
            figures = {"set": options.set, "part": options.part, "gamma": GAMMA, "stages": found}
            write_result(options.json, figures, COMMAND)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
