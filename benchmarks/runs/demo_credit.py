"""The end of the demonstration: which steps do the methods credit, and which brought the goal nearer?

    python -m benchmarks.runs.demo_credit RUN [METHOD ...]

The warm start of the run folder plays groups of attempts at houses that were not trained on, and the
simulator reports the distance to the goal at every step. Every method assigns credit to these same attempts,
with the settings it was trained with, and is judged as in the credit benchmark (docs/credit-benchmark.md):
AUC, the probability that a step which brings the goal nearer has more credit than another step of its
episode, in lost and in won episodes of groups with both; the share of forward steps with negative credit, and
of harmful ones with positive.

One episode is shown step by step: among the lost episodes that have a forward step, in groups with both
outcomes, the one on which the methods differ most. The difference is, averaged over the steps, the distance
between the highest and the lowest credit of a step after each method's mean in the episode was subtracted;
of equal ones the first is taken. Which method is right plays no part in the choice.

GRPO gives all steps of an episode the same credit. So does StepOPSD with the paper's normaliser: it moves
credit between the tokens of a step. Both have an AUC of 0.5 by construction.

Writes ``credit.json`` and ``episode.png`` into the run folder.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from benchmarks.credit.record import params
from benchmarks.credit.recording import Recording, collated, in_batches
from benchmarks.report.demo import FIGURES
from benchmarks.runs.commands import read
from benchmarks.runs.demo_picture import draw
from stepopsd_agent import credit
from stepopsd_agent.accuracy import Array, Judged, Measure, figures, judged, split, step_credit
from stepopsd_agent.config import RunConfig, config_from_dict
from stepopsd_agent.models import load_policy
from stepopsd_agent.rollout import Attempt, rollout, whole_groups
from stepopsd_agent.run.files import write_json_atomic
from stepopsd_agent.tasks import make_stack, task_ids
from stepopsd_wrappers import Episode

BATCHES = 2
"""Number of batches that are judged, each with the groups of one update."""
TASK = "Your task is to: "


def other_attempts(config: RunConfig) -> list[Attempt]:
    """Groups of attempts at the games that follow the training games in canonical order.

    They are the same for every seed, like the games of the evaluation.
    """
    count = BATCHES * config.rollout.tasks
    known = len(task_ids(make_stack(config.env)))
    others = task_ids(make_stack(config.env.changed(num_games=known + count)))[known:]
    return [
        Attempt(task, seed=config.seed, group=group, member=member)
        for group, task in enumerate(others)
        for member in range(config.rollout.group_size)
    ]


def record(out: Path, config: RunConfig) -> Recording:
    """The attempts of the warm start, in batches as an update has them."""
    policy = load_policy(str(out / "warmstart"), device="cpu")
    envs = [make_stack(config.env.changed(oracle=True)) for _ in range(config.rollout.slots)]
    played = rollout(policy, envs, other_attempts(config), params(config), seed="demo", run="credit")
    parts = in_batches(whole_groups(played), config.rollout.tasks)
    return Recording(out, config, policy, parts, [collated(p, policy, config) for p in parts], whole=False)


def credits_of(recording: Recording, settings: Mapping[str, Any]) -> list[Array]:
    """The credit of each episode's steps from a method with these settings, "method" among them."""
    fields = dict(settings)
    method = credit.make(fields.pop("method"), **fields)
    recording.prepare(method.needs)
    return split(recording.batches, [step_credit(batch, method(batch)) for batch in recording.batches])


def disagreement(credits: Sequence[Array]) -> float:
    """Mean over steps of the range of centred credit over methods, see the module."""
    centred = np.array([steps - steps.mean() for steps in credits])  # [methods][steps]
    return float((centred.max(0) - centred.min(0)).mean())


def most_disputed(credits: Mapping[str, Sequence[Array]], truth: Judged) -> int | None:
    """Index of the episode to show; None if no mixed group has a lost one with a forward step."""
    allowed = [
        place
        for place, steps in enumerate(truth.progress)
        if truth.mixed[place] and not truth.won[place] and (steps > 0).any()
    ]
    found = {place: disagreement([one[place] for one in credits.values()]) for place in allowed}
    return max(found, key=found.__getitem__, default=None)


def shown(episode: Episode, progress: Array, credits: Mapping[str, Array]) -> dict[str, Any]:
    """An episode step by step, as JSON."""
    task = episode.steps[0].observation.partition(TASK)[2].partition("\n")[0]
    steps = [
        {
            "command": " ".join(step.action.split()),  # a model may have written several lines
            "nearer": float(progress[number]),
            "credit": {method: round(float(steps[number]), 4) for method, steps in credits.items()},
        }
        for number, step in enumerate(episode.steps[1:])
    ]
    named = {"task_id": episode.task_id, "group": episode.group, "member": episode.member}
    return {**named, "task": task, "steps": steps}


def judge(out: Path, methods: Sequence[str]) -> dict[str, Any]:
    """Accuracy of the methods that were trained in the run folder, and the episode to show."""
    config = config_from_dict(read(out / "warmstart" / "warmstart.json")["config"])
    recording = record(out, config)
    episodes = [episode for part in recording.parts for episode in part]
    truth = judged(episodes, [])
    credits = {}
    for method in methods:
        saved = yaml.safe_load((out / method / "config.yaml").read_text(encoding="utf-8"))
        credits[method] = credits_of(recording, saved["credit"])
    rows = {}
    for method, found in credits.items():
        measured = figures(found, truth)
        rows[method] = {name: vars(measured[name]) for name in FIGURES}
    place = most_disputed(credits, truth)
    episode = None
    if place is not None:
        of_episode = {method: found[place] for method, found in credits.items()}
        episode = shown(episodes[place], truth.progress[place], of_episode)
    return {
        "groups": len(set(truth.tasks)),
        "mixed": len({task for task, mixed in zip(truth.tasks, truth.mixed, strict=True) if mixed}),
        "episodes": len(episodes),
        "success": float(np.mean(truth.won)),
        "methods": rows,
        "episode": episode,
    }


def credit_text(found: Mapping[str, Any], methods: Sequence[str]) -> str:
    """Accuracy and the episode as text, with the methods in this order."""
    title = (
        f"credit of {found['episodes']} attempts of the warm start at {found['groups']} other houses, "
        f"{found['mixed']} of them won and lost; 95 % intervals"
    )
    lines = [title, f"{'':10}" + "".join(f"{label:>24}" for label in FIGURES.values())]
    for method in methods:
        cells = [interval(Measure(**found["methods"][method][name])) for name in FIGURES]
        lines.append(f"{method:10}" + "".join(f"{cell:>24}" for cell in cells))
    return "\n".join([*lines, "", *episode_lines(found["episode"], methods)])


def interval(measure: Measure) -> str:
    """A figure with its interval; "-" if no episode is behind it."""
    return f"{measure.value:.2f} ({measure.low:.2f} to {measure.high:.2f})" if measure.n else "-"


STEP_OPSD = (
    "step_opsd moves credit between the tokens of a step, and between the steps of an episode only with\n"
    "--credit.step_norm none"
)


def episode_lines(episode: Mapping[str, Any] | None, methods: Sequence[str]) -> list[str]:
    """The episode step by step, or a line that says that there is none to show."""
    if episode is None:
        return ["no episode to show: none was lost, after a step forward, in a house that was also won"]
    width = max(7, *(len(step["command"]) for step in episode["steps"]))
    lines = [
        f"the lost episode on which they differ most, {episode['task_id']}: {episode['task']}",
        f"step  {'command':<{width}}  goal  " + "".join(f"{method:>11}" for method in methods),
    ]
    for number, step in enumerate(episode["steps"], start=1):
        credits = "".join(f"{step['credit'][method]:>+11.2f}" for method in methods)
        lines.append(f"{number:4}  {step['command']:<{width}}  {direction(step['nearer']):6}{credits}")
    if "step_opsd" in methods:
        lines.append(STEP_OPSD)
    return lines


def direction(nearer: float) -> str:
    """Whether a step led nearer to the goal or away from it."""
    return "nearer" if nearer > 0 else "away" if nearer < 0 else ""


def main() -> int:
    """Judge, draw, print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.runs.demo_credit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="folder of a trained demonstration")
    parser.add_argument("methods", nargs="+", help="trained methods to judge")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = judge(options.run, options.methods)
    draw(found, options.run / "episode.png")
    write_json_atomic(options.run / "credit.json", found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
