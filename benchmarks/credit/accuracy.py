"""Does a credit method put credit on the steps that deserve it? Every registered method, and the controls.

    python -m benchmarks.credit.accuracy --out DIR [--set small] [--stage start] [--method NAME ...]

``DIR`` holds the recordings of `benchmarks.credit.record`, and, for the last columns, the Monte-Carlo values
of `benchmarks.credit.truth`. ``--method`` judges only the named methods ("module:name" for one outside the
package, "name field=value" for one with other settings). The measures, of which the table shows some and the
JSON file all:

- AUC lost, won: probability that a step which brings the goal nearer has more credit than another step of
  the same episode, in lost and in won episodes of groups with both; AUC unmixed: in the other groups; AUC
  all lost: in the lost episodes of all groups, also of those that none of the attempts won.
- harm: probability that a step away from the goal has less credit than another step of its episode.
- r: correlation of credit and the acting policy's own advantage, from fresh attempts, within episodes.
- pushed down, pushed up: share of forward steps with negative, and of harmful steps with positive credit.
- decisive: share of an episode's credit on the step whose advantage is largest.
- size: mean absolute credit of a step. Muon and AdamW divide by it; it counts beside KL or a further loss.

Intervals (95 %) are from a bootstrap over tasks. ``--minus METHOD`` adds the differences of all rows from
that method, in pairs: both on the same drawn tasks. ``--groups`` judges the first groups only, ``--short`` 8.

``--reader MODEL`` judges the methods with a hindsight teacher on the same episodes with another model as
student and teacher (see `benchmarks.credit.reader`): "smollm2", a GGUF file, a model folder or a hub name. It
reads about 2,500 tokens an episode, so give ``--groups``. ``--position`` judges them with their hindsight in
another place than the recipe's.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import torch

from benchmarks.credit.checks import check_methods, positive
from benchmarks.credit.picture import draw
from benchmarks.credit.reader import HINDSIGHT, mean_gap, read_recording, teacher_credit
from benchmarks.credit.recording import Cost, Recording, load_recording
from benchmarks.credit.sets import PARTS, SETS, STAGES, stages_of
from benchmarks.output import write_result
from stepopsd_agent.accuracy import (
    Array,
    Entry,
    Judged,
    about,
    ceiling,
    controls,
    differences,
    differences_text,
    entries,
    judged,
    read_values,
    row,
    split,
    step_credit,
    table_text,
)
from stepopsd_agent.batch import AuditError, Batch
from stepopsd_agent.config import Dtype, Position
from stepopsd_agent.credit import MissingColumnError
from stepopsd_agent.models import ModelFolderError

COMMAND = "python -m benchmarks.credit.accuracy --out DIR"
MEASURES = ("auc_failed", "auc_all_failed", "auc_won", "auc_harmful", "r")
"""The figures that are printed; the JSON file has all."""
Further = Mapping[str, Callable[[Batch], Array]]
"""Further controls, by name, that only some recordings have."""


def judge(recording: Recording, entry: Entry, truth: Judged) -> tuple[list[Array], dict[str, Any]]:
    """Per episode the credit of its steps, and the row of a method."""
    method = entry.make()
    try:
        recording.prepare(method.needs)
        began = time.process_time()
        per_step = [step_credit(batch, method(batch)) for batch in recording.batches]
    except (AuditError, MissingColumnError, TypeError) as error:
        raise SystemExit(f"{entry.name} cannot be judged: {error}") from error
    cost = [recording.costs[name] for name in method.needs if name in recording.costs]
    total = Cost(
        sum(one.tokens for one in cost), sum(one.seconds for one in cost) + time.process_time() - began
    )
    given = split(recording.batches, per_step)
    return given, row(given, truth, total.tokens, total.seconds)


def result(
    recording: Recording, methods: Sequence[Entry], further: Further, minus: Entry | None = None
) -> dict[str, Any]:
    """The table of one recording.

    Args:
        recording: with groups of attempts.
        methods: the rows.
        further: more controls, by name.
        minus: a method from which the differences of the others are taken, too.
    """
    values = recording.place / "values.jsonl"
    episodes = [episode for part in recording.parts for episode in part]
    truth = judged(episodes, read_values(values) if values.exists() else [])
    base = None if minus is None else judge(recording, minus, truth)[0]
    rows, less = {}, {}
    for entry in methods:
        given, rows[entry.name] = judge(recording, entry, truth)
        if base is not None and entry != minus:
            apart = differences(given, base, truth)
            less[entry.name] = {name: vars(measure) for name, measure in apart.items()}
        print(f"{recording.place}: {entry.name}", file=sys.stderr)
    return {
        **about(truth),
        "ceiling": vars(ceiling(truth.values)),
        "controls": controls(recording.batches, truth, episodes, further),
        "methods": rows,
        **({} if minus is None else {"minus": minus.name, "differences": less}),
    }


def _parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.credit.accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the recordings")
    parser.add_argument("--set", choices=sorted(SETS), nargs="+", default=["small"], help="task sets")
    parser.add_argument(
        "--stage", choices=STAGES, nargs="+", help="stages of training (default: all recorded)"
    )
    parser.add_argument("--part", choices=PARTS, default="test", help="tuning or test tasks")
    parser.add_argument("--method", nargs="+", default=None, help="only these methods")
    parser.add_argument("--minus", default=None, metavar="METHOD", help="differences from this one")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here")
    parser.add_argument("--picture", type=Path, default=None, help="draw the first task set here")
    parser.add_argument("--groups", type=positive, default=None, help="judge only so many first groups")
    parser.add_argument("--short", action="store_true", help="8 groups only")
    parser.add_argument(
        "--reader", default=None, metavar="MODEL", help="another model as student and teacher"
    )
    parser.add_argument("--position", choices=get_args(Position), help="where teachers read their hindsight")
    parser.add_argument("--dtype", choices=get_args(Dtype), default="auto", help="of the reader's weights")
    return parser


def main() -> int:
    """Judge and print."""
    parser = _parser()
    options = parser.parse_args()
    try:
        check_methods([*(options.method or ()), *([options.minus] if options.minus is not None else ())])
        stages = {name: stages_of(name, options.stage) for name in options.set}
    except ValueError as error:
        parser.error(str(error))
    torch.set_num_threads(1)
    methods = entries(options.method)
    if options.minus is not None and len(entries([options.minus])) > 1:
        parser.error(
            f"--minus {options.minus} is more than one row; give it settings, as in "
            f"'{options.minus} key=text'"
        )
    if options.reader is not None and options.position is not None:
        parser.error("--reader has a hindsight of its own, so it takes no --position; leave one of them out")
    if options.reader is not None or options.position is not None:
        methods = [entry for entry in methods if "teacher_logprobs" in entry.make().needs]
    found: dict[str, Any] = {}
    for name in options.set:
        for stage in stages[name]:
            try:
                one = _table(options, name, stage, methods)
            except (FileNotFoundError, ModelFolderError) as error:
                parser.error(str(error))
            found.setdefault(name, {})[stage] = one
            mixed = f"{one['mixed']} of {one['groups']} groups mixed"
            print(f"\n{name}, {stage}: success {one['success']:.0%}, {mixed}")
            known = [measure for measure in MEASURES if measure != "r" or one["ceiling"]["n"]]
            print(table_text(one, known))
            if options.minus is not None:
                print(f"\nless {one['minus']}, in pairs:\n{differences_text(one['differences'], known)}")
    if options.picture is not None:
        name = options.set[0]
        draw(found[name], f"Credit accuracy, task set {name}, {options.part} tasks", options.picture)
    if options.json is not None:
        write_result(
            options.json, {"part": options.part, "sets": found, **_about(options)}, _command(options)
        )
    return 0


def _table(options: argparse.Namespace, name: str, stage: Any, methods: Sequence[Entry]) -> dict[str, Any]:
    """The table of one stage, as the acting policy or a reader sees it."""
    most = 8 if options.short else options.groups
    minus = None if options.minus is None else entries([options.minus])[0]
    if options.reader is None:
        recording = load_recording(options.out, name, stage, options.part, most, options.position)
        return result(recording, methods, {}, minus)
    recording = read_recording(options.out, name, stage, options.part, options.reader, most, options.dtype)
    found = result(recording, methods, {"teacher's log-probability": teacher_credit}, minus)
    return {**found, "gap": mean_gap(recording.batches)}


def _about(options: argparse.Namespace) -> dict[str, Any]:
    """What a reader was, or where teachers read, for its result."""
    if options.reader is None:
        return {} if options.position is None else {"position": options.position}
    return {"reader": Path(options.reader).name, "dtype": options.dtype, "hindsight": HINDSIGHT}


def _command(options: argparse.Namespace) -> str:
    """The command that made a result."""
    less = "" if options.minus is None else f' --minus "{options.minus}"'
    if options.reader is None:
        return COMMAND + less
    few = "" if options.groups is None else f" --groups {options.groups}"
    model = f"--reader {Path(options.reader).name} --dtype {options.dtype}"
    stages = "" if options.stage is None else f" --stage {' '.join(options.stage)}"
    return f"{COMMAND}{stages} {model}{few}{less}"


if __name__ == "__main__":
    raise SystemExit(main())
