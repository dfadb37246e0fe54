"""The two knobs of StepOPSD, and its open choices: what each does to credit accuracy, and to learning.

    python -m benchmarks.credit.two_knobs --recordings DIR --out RUNS [--json OUT] [--picture OUT]
    python -m benchmarks.credit.two_knobs --recordings DIR --out RUNS --set full --stage --learn

``DIR`` holds recordings of `benchmarks.credit.record`. A grid of `lambda_mix` (the share of credit that is
reweighted) and `alpha_clip` (the bound of a weight's distance from 1) is judged on them, without the
normaliser of steps, which leaves no differences between steps. Then every other choice is changed alone.
With ``--learn`` a part of the grid is trained, too, as in `benchmarks.credit.learning`; finished runs are
kept, and the command can be repeated. ``--stage`` without a stage leaves the recordings alone. ``RUNS`` also
keeps the teachers' log-probabilities.

In addition to the measures of `benchmarks.credit.accuracy` there is `moved`: the mean distance of a step's
credit from its episode's mean, as a share of that mean. `lambda_mix` multiplies it, and so can change neither
the order of steps nor a correlation; the amount moved matters for learning only.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from benchmarks.credit.heat_maps import draw_heat_maps
from benchmarks.credit.learning import add_training, trained
from benchmarks.credit.recording import Recording, load_recording
from benchmarks.credit.sets import PARTS, SETS, STAGES, Part, Stage, folder
from benchmarks.output import write_result
from stepopsd_agent import credit
from stepopsd_agent.accuracy import Array, Judged, about, judged, row, split, step_credit
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit import CreditMethod, scaled
from stepopsd_agent.learner import fill
from stepopsd_agent.models import Scorer, load_policy
from stepopsd_agent.run.files import write_bytes_atomic
from stepopsd_agent.tasks import make_stack

COMMAND = "python -m benchmarks.credit.two_knobs --recordings DIR --out RUNS"
LAMBDAS, CLIPS = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0), (0.05, 0.1, 0.2, 0.5, 1.0)
LEARNED = ((0.0, 0.1, 0.5, 1.0), (0.1, 0.5, 1.0))
"""The values of both knobs that are trained; every cell takes minutes a seed."""
NEEDS = frozenset({"student_logprobs", "teacher_logprobs"})


@dataclass(frozen=True)
class Choice:
    """One setting with one of its values.

    Attributes:
        name: of the setting.
        value: its value.
        method: fields of `step_opsd` that have it.
        hindsight: fields of the hindsight block that have it.
        weights: stage whose weights the teacher has; the acting policy's if empty.
        schedule: factor of the schedule.
    """

    name: str
    value: str
    method: Mapping[str, Any] = field(default_factory=dict)
    hindsight: Mapping[str, Any] = field(default_factory=dict)
    weights: str = ""
    schedule: float = 1.0


def choices(stages: Sequence[str], *, gold: bool) -> Iterator[Choice]:
    """The values of every setting, the paper's among them.

    Args:
        stages: those of other teachers' weights.
        gold: whether the tasks have gold answers.
    """
    for value in ("none", "equal_step_mean_abs", "equal_step_sum"):
        yield Choice("step_norm", value, {"step_norm": value})
    for value in ("sigmoid", "exp"):
        yield Choice("weight", value, {"weight": value})
    for value in ("turn", "action"):
        yield Choice("span", value, {"span": value})
    for value in ("none", "correctness", "peer", "correctness+peer"):
        yield Choice("hindsight.mode", value, hindsight={"mode": value})
    told = {
        "mode": "next_observation",
        "position": "inline",
    }  # no other position knows what came after a step
    yield Choice("hindsight.mode", "next_observation", hindsight=told)
    if gold:
        yield Choice("hindsight.mode", "gold", hindsight={"mode": "gold"})
    for value in ("inline", "prefix"):
        yield Choice("hindsight.position", value, hindsight={"position": value})
    for value in ("transcript", "commands"):
        yield Choice("hindsight.peer", value, hindsight={"peer": value})
    for value in ("failed", "all"):
        yield Choice("hindsight.peer_for", value, hindsight={"peer_for": value})
    yield Choice("teacher", "the acting policy")
    for stage in stages:
        yield Choice("teacher", f"weights of the {stage} of training", weights=stage)
    for factor in (1.0, 0.5, 0.0):
        yield Choice("schedule", f"{factor:g}", schedule=factor)


def judge(batches: Sequence[Batch], method: CreditMethod, truth: Judged) -> dict[str, Any]:
    """The figures of one method, and how much credit it moves."""
    credits = split(batches, [step_credit(batch, method(batch)) for batch in batches])
    return {**row(credits, truth), "moved": moved(credits)}


def moved(credits: Sequence[Array]) -> float:
    """Mean distance of a step's credit from its episode's mean, as a share of it, where there is credit."""
    shares = [np.abs(one - one.mean()).mean() / abs(one.mean()) for one in credits if abs(one.mean()) > 1e-9]
    return float(np.mean(shares)) if shares else 0.0


def grid(batches: Sequence[Batch], truth: Judged, step_norm: str) -> list[list[dict[str, Any]]]:
    """The figures for every value of `lambda_mix` (rows) and `alpha_clip` (columns)."""
    return [
        [
            judge(
                batches,
                credit.make("step_opsd", lambda_mix=share, alpha_clip=clip, step_norm=step_norm),
                truth,
            )
            for clip in CLIPS
        ]
        for share in LAMBDAS
    ]


def with_teacher(
    recording: Recording, choice: Choice, root: Path, name: str, part: Part, kept: Path
) -> list[Batch]:
    """The batches with the log-probabilities of the choice's teacher, from the file `kept` if it exists."""
    hindsight = replace(recording.config.hindsight, **choice.hindsight)
    if hindsight == recording.config.hindsight and not choice.weights:
        return recording.batches
    if kept.exists() and recording.whole:
        columns = load_file(kept)
        return [
            batch.with_columns(teacher_logprobs=columns[str(number)])
            for number, batch in enumerate(recording.batches)
        ]
    policy = recording.policy
    scorer = Scorer(policy, temperature=recording.config.rollout.temperature)
    teacher = None
    if choice.weights:
        teacher = load_policy(str(folder(root, name, choice.weights)), device="cpu").state()  # type: ignore[arg-type]
    envs = []
    if hindsight.mode == "gold":  # which the environment tells
        envs = [make_stack(recording.config.env.changed(**getattr(SETS[name], part)))]
    batches = [
        fill(batch, some, NEEDS, policy, scorer=scorer, hindsight=hindsight, teacher=teacher, envs=envs)
        for batch, some in zip(recording.batches, recording.parts, strict=True)
    ]
    if recording.whole:
        kept.parent.mkdir(parents=True, exist_ok=True)
        columns = {}
        for number, batch in enumerate(batches):
            assert batch.tokens.teacher_logprobs is not None
            columns[str(number)] = batch.tokens.teacher_logprobs
        save_file(columns, kept)
    return batches


def result(options: argparse.Namespace, stage: Stage) -> dict[str, Any]:
    """The grid and the choices of one stage."""
    root, name = options.recordings, options.set
    recording = load_recording(root, name, stage, options.part, 8 if options.short else None)
    recording.prepare(NEEDS)
    truth = judged([episode for part in recording.parts for episode in part], [])
    facts = json.loads((recording.place / "groups.json").read_text(encoding="utf-8"))
    digest = facts["sha256"][:12]  # columns of an earlier recording do not pass for those of this one
    cells = grid(recording.batches, truth, options.step_norm)
    print(f"{name} {stage} {options.part}: grid", file=sys.stderr)
    rows = []
    others = [one for one in STAGES if one != stage and folder(root, name, one).exists()]
    for choice in choices(others, gold=name == "searchqa"):
        fields = {"step_norm": options.step_norm, **choice.method}
        method = scaled(credit.make("step_opsd", **fields), choice.schedule)
        value = f"{choice.name}-{choice.value}".replace(" ", "_")
        kept = options.out / "columns" / f"{name}-{stage}-{options.part}-{digest}-{value}.safetensors"
        batches = with_teacher(recording, choice, root, name, options.part, kept)
        rows.append({"choice": choice.name, "value": choice.value, **judge(batches, method, truth)})
        print(f"{name} {stage} {options.part}: {choice.name} {choice.value}", file=sys.stderr)
    return {**about(truth), "grid": cells, "choices": rows}


def learned(options: argparse.Namespace) -> dict[str, Any]:
    """The area under the curve of every trained cell, per seed; the row with lambda_mix 0 is GRPO.

    ``training`` has the share of attempts won that were trained on: many more than are evaluated.

    ``grpo`` has the areas of all of its seeds that are there, to compare the differences between cells with.
    """
    lambdas, clips = LEARNED
    names = {(0.0, clip): "grpo" for clip in clips}
    for share in lambdas[1:]:
        for clip in clips:
            settings = f"lambda_mix={share:g} alpha_clip={clip:g} step_norm={options.step_norm}"
            names[share, clip] = f"step_opsd {settings}"
    options.method, options.match_norms = list(dict.fromkeys(names.values())), False
    options.position = None
    rows = trained(options)

    def seeds(figure: str) -> list[list[list[float]]]:
        cells = [[rows[names[share, clip]][figure] for clip in clips] for share in lambdas]
        return [[cell[: options.seeds] for cell in line] for line in cells]

    return {
        "lambda_mix": lambdas, "alpha_clip": clips, "set": options.set,
        "seeds": options.seeds, "updates": options.updates, "area": seeds("area"), "last": seeds("last"),
        "training": seeds("training"), "grpo": rows["grpo"]["area"],
    }  # fmt: skip


def table(found: Mapping[str, Any]) -> str:
    """The grid and the choices of a stage as text."""
    lines = []
    for key, label in (("auc_failed", "AUC in lost episodes"), ("auc_won", "in won ones")):
        lines += [
            f"{label}: lambda_mix down, alpha_clip across",
            " " * 8 + "".join(f"{c:>8g}" for c in CLIPS),
        ]
        for share, cells in zip(LAMBDAS, found["grid"], strict=True):
            lines.append(f"{share:>8g}" + "".join(f"{cell[key]['value']:>8.3f}" for cell in cells))
    lines.append(f"{'one choice at a time':58}{'lost':>8}{'won':>8}{'moved':>8}")
    for one in found["choices"]:
        figures = f"{one['auc_failed']['value']:>8.3f}{one['auc_won']['value']:>8.3f}{one['moved']:>8.3f}"
        lines.append(f"{one['choice']:20}{one['value']:38}{figures}")
    return "\n".join(lines)


def main() -> int:
    """Judge, train if asked, print, and write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.credit.two_knobs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--recordings", type=Path, required=True, help="folder of benchmarks.credit.record")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs and of teachers' columns")
    parser.add_argument("--set", choices=sorted(SETS), default="small", help="task set")
    parser.add_argument("--stage", choices=STAGES, nargs="*", default=list(STAGES), help="stages of training")
    parser.add_argument("--part", choices=PARTS, default="tuning", help="tuning or test tasks")
    parser.add_argument("--step_norm", default="none", help="normaliser of steps in grid and choices")
    parser.add_argument("--learn", action="store_true", help="train cells of the grid, too")
    add_training(parser, seeds=1)
    parser.add_argument("--json", type=Path, default=None, help="write the figures here")
    parser.add_argument("--picture", type=Path, default=None, help="draw heat maps here")
    parser.add_argument("--short", action="store_true", help="8 groups only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {"set": options.set, "part": options.part, "step_norm": options.step_norm}
    found |= {"lambda_mix": LAMBDAS, "alpha_clip": CLIPS, "stages": {}}
    for stage in options.stage:
        try:
            found["stages"][stage] = result(options, stage)
        except FileNotFoundError as error:
            parser.error(str(error))
        print(f"\n{options.set}, {stage} of training, {options.part} tasks\n{table(found['stages'][stage])}")
    if options.learn:
        found["learning"] = learned(options)
        for share, cells in zip(LEARNED[0], found["learning"]["area"], strict=True):
            print(f"{share:>8g}" + "".join(f"{np.mean(areas):>8.3f}" for areas in cells))
    if options.json is not None:
        write_result(options.json, found, COMMAND)
    if options.picture is not None:
        write_bytes_atomic(options.picture, draw_heat_maps(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
