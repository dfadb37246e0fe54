"""What is left of the lead of `path_gain` with `lifted`? The same episodes with other plans, keys and facts.

    python -m benchmarks.credit.lifted_controls --out DIR [--set official full] [--stage start] [--json OUT]

``DIR`` holds the recordings of `benchmarks.credit.record`, of household games. Compared are:

- plans written by hand (`hand_plans`) in place of the learned distances of `path_gain`, with the group's own
  graph and alone; the same plan told which receptacle treats; points for what a person would name as steps of
  the task;
- `path_gain` and published methods with the lifted world as their key: in each group; with all tasks of a
  form as one group; the same with all batches before, the past that `path_gain` with `lifted` has; and this
  beside the group's graph with text keys, two graphs as it has; and with a cost of idle steps, as it has;
- `path_gain` without inferred transitions; and with `lifted` without the group's graph, without what is in
  sight, without a past, without its cost of idle steps, with batches in other orders, told which receptacle
  treats, and with the goals of other groups, of another form and other things, which must be of no use.

The measures are those of `benchmarks.credit.accuracy`: probabilities that a forward step has more credit than
another of its episode, in lost episodes of groups with both outcomes, in all lost and in won ones; and that a
harmful step has less. Intervals (95 %) are from a bootstrap over tasks. The difference of each row from
`path_gain, lifted` is resampled in pairs: both are judged on the same drawn tasks. The true distance in place
of a plan must give 1. Every episode is told in the terms of its task once more from a record that has nothing
but the texts; the number of those that come out otherwise is printed.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.credit.checks import positive
from benchmarks.credit.lifted_rows import REFERENCE, LiftedRecording, rows
from benchmarks.credit.lifted_terms import told_otherwise
from benchmarks.credit.recording import load_recording
from benchmarks.credit.sets import PARTS, STAGES
from benchmarks.output import write_result
from stepopsd_agent import credit
from stepopsd_agent.accuracy import (
    LABELS,
    Measure,
    about,
    controls,
    differences,
    figures,
    judged,
    split,
)
from stepopsd_agent.models import ModelFolderError
from stepopsd_wrappers import Episode

COMMAND = "python -m benchmarks.credit.lifted_controls --out DIR"
SETS = ("official", "full", "small")
"""Sets of household games."""
MEASURES = ("auc_failed", "auc_all_failed", "auc_won", "auc_harmful")
CONTROLS = ("rare kind of command", "truth (optimal distance)")
"""Of the controls of every table, those that are shown here, too."""


def tasks(episodes: Sequence[Episode]) -> list[int]:
    """The task of each episode, the unit of the bootstrap: trials of one official task are drawn together."""
    names = [episode.task_id.rpartition("/trial_")[0] or str(episode.group) for episode in episodes]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return [numbers[name] for name in names]


def result(material: LiftedRecording) -> dict[str, Any]:
    """The rows of one recording, and their differences from the reference."""
    episodes = [episode for part in material.parts for episode in part]
    groups = judged(episodes, [])
    truth = replace(groups, tasks=tasks(episodes))
    found = {}
    for name, per_step in rows(material).items():
        found[name] = split(material.batches, per_step())
        print(name, file=sys.stderr)
    base, first = controls(material.batches, truth, episodes), found[REFERENCE]
    return {
        **about(truth, groups.tasks),
        "tasks": len(set(truth.tasks)),
        "told_otherwise": told_otherwise(material.parts, material.told),
        "controls": {name: {one: base[name][one] for one in MEASURES} for name in CONTROLS},
        "methods": {name: _shown(figures(credits, truth)) for name, credits in found.items()},
        "differences": {
            name: _shown(differences(credits, first, truth))
            for name, credits in found.items()
            if name != REFERENCE
        },
    }


def _shown(measured: Mapping[str, Measure]) -> dict[str, Any]:
    """The measures of this table, as JSON."""
    return {name: vars(measured[name]) for name in MEASURES}


def text(head: str, table: Mapping[str, Mapping[str, Any]]) -> str:
    """A line for each row."""
    lines = [f"{head:58}" + "".join(f"{LABELS[measure]:>25}" for measure in MEASURES)]
    for name, row in table.items():
        lines.append(f"{name:58}" + "".join(f"{Measure(**row[measure])!s:>25}" for measure in MEASURES))
    return "\n".join(lines)


def main() -> int:
    """Judge and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.credit.lifted_controls",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the recordings")
    parser.add_argument("--set", choices=SETS, nargs="+", default=["official", "full"], help="task sets")
    parser.add_argument("--stage", choices=STAGES, nargs="+", default=STAGES, help="stages of training")
    parser.add_argument("--part", choices=PARTS, default="test", help="tuning or test tasks")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here")
    parser.add_argument("--groups", type=positive, default=None, help="judge only so many first groups")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    needs = credit.make("path_gain", lifted=True).needs
    for name in options.set:
        for stage in options.stage:
            try:
                recording = load_recording(options.out, name, stage, options.part, options.groups)
            except (FileNotFoundError, ModelFolderError) as error:
                parser.error(str(error))
            recording.prepare(needs)
            one = result(LiftedRecording(recording.parts, recording.batches))
            found.setdefault(name, {})[stage] = one
            print(
                f"\n{name}, {stage}: success {one['success']:.0%}, {one['mixed']} groups mixed, "
                f"{one['told_otherwise']} episodes told otherwise from texts alone"
            )
            if options.json is not None:  # what is done stands there if the rest is interrupted
                write_result(options.json, {"part": options.part, "sets": found}, COMMAND)
            print(text("", {**one["methods"], **one["controls"]}))
            print(text(f"minus {REFERENCE}", one["differences"]), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
