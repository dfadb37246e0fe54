"""``stepopsd sweep``: train every combination of some settings with several seeds, in parallel."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from stepopsd_agent.cli.checks import UsageError
from stepopsd_agent.cli.commands import train
from stepopsd_agent.cli.common import refuse_fresh
from stepopsd_agent.cli.output_paths import fresh_folder, only_writer, resumed_file
from stepopsd_agent.cli.parser import Parser, complain
from stepopsd_agent.run import (
    Job,
    SweepRun,
    ending,
    environment_facts,
    is_finished,
    label,
    last_words,
    progress,
    rows_text,
    run_folder,
    run_jobs,
    sweep_rows,
    sweep_runs,
    training_job,
)
from stepopsd_agent.run.files import plot_curves, write_bytes_atomic, write_json_atomic
from stepopsd_envs.processors import allowed_processors, allowed_threads
from stepopsd_envs.user_path import typed, user_path

HELP = "train every combination of some settings with several seeds; compare them in a table and a picture"
USES = train.USES
FILE, SCHEMA, PICTURE = "sweep.json", "stepopsd.sweep/1", "curves.png"
SEEDS = 3
OWN = ("--grid", "--seeds", "--jobs", "--out", "--seed")
"""Flags of the sweep itself, which are not passed on to its runs."""
EXAMPLE = (
    "stepopsd sweep --config FILE --model.path FOLDER --grid credit.method=grpo,step_opsd "
    "--grid learner.lr=1e-4,3e-4 --seeds 3 --jobs 2 --out FOLDER"
)
USAGE = "stepopsd sweep --grid SETTING=VALUE,... --out FOLDER [--SETTING VALUE ...]"
OPEN, CLOSE = "[{(", ")}]"


def add_flags(parser: Parser) -> None:
    """The settings to combine, the seeds, and how many runs go in parallel."""
    absent = argparse.SUPPRESS
    parser.usage = f"{USAGE}\n\nexample: {EXAMPLE}"
    parser.add_argument(
        "--grid",
        action="append",
        type=str,
        default=absent,
        metavar="SETTING=VALUE,VALUE",
        help="a setting of train and the values to try; repeat the flag to train every combination. A value "
        "that is a list stands in brackets: eval.games=[valid_seen],[valid_unseen]",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=absent,
        help=f"runs per combination, from --seed on (default: {SEEDS})",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=absent,
        help="runs in parallel (default: fill the processors; 1 on a GPU)",
    )
    parser.add_argument("--out", type=str, default=absent, metavar="FOLDER", help="folder to write to")
    parser.add_argument(
        "--resume",
        type=str,
        default=absent,
        metavar="FOLDER",
        help="continue the sweep in this folder; takes no other flag",
    )


def complete(
    settings: Namespace, arguments: Sequence[str], parse: Callable[[Sequence[str]], Namespace]
) -> Namespace:
    """Add the settings of every run, so that all are checked before the first begins."""
    if settings.get("resume") is None:
        settings["trained"] = training_settings(settings, arguments, parse)
    return settings


def run(settings: Namespace) -> int:
    """Train the runs that are not finished, then print the table; return 1 if a run failed."""
    if "resume" in settings:
        resumed_file(out := user_path(settings.resume), FILE, "sweep")
        with only_writer(out, "sweep", fresh=False):
            return _train(out, _read(out))
    out, content, files = _planned(settings)
    with only_writer(out, "sweep", fresh=True):
        (out / "configs").mkdir()
        for member, file in zip(content["runs"], files, strict=True):
            write_bytes_atomic(_config_file(out, SweepRun(**member)), file)
        write_json_atomic(out / FILE, content)
        return _train(out, content)


def _train(out: Path, content: Mapping[str, Any]) -> int:
    """Train the runs of a sweep's folder that are not finished."""
    runs = [SweepRun(**member) for member in content["runs"]]
    missing = [member for member in runs if not is_finished(run_folder(out, member))]
    failed = dict[str, int]()
    with progress(len(runs), "sweep", unit="run", completed=len(runs) - len(missing)) as bar:

        def ended(job: Job, code: int) -> None:
            if code:
                failed[job.name] = code
                bar.say(f"{job.name}: {ending(code)}, {last_words(job.log)} (see {job.log})")
            bar.advance()

        jobs = [_job(out, member, content["threads"]) for member in missing]
        try:
            run_jobs(jobs, content["jobs"], ended)
        except KeyboardInterrupt:
            print(f"stepopsd: stopped; go on with: stepopsd sweep --resume {typed(out)}", file=sys.stderr)
            return 1
    _report(out, content, runs)
    if failed:
        print(
            f"stepopsd: {len(failed)} of {len(runs)} runs failed; correct what their logs in "
            f"{out / 'logs'} report, then: stepopsd sweep --resume {typed(out)}",
            file=sys.stderr,
        )
    return 1 if failed else 0


def training_settings(
    settings: Namespace, arguments: Sequence[str], parse: Callable[[Sequence[str]], Namespace]
) -> list[Namespace]:
    """Return the settings of each run, as ``train`` parses them.

    Args:
        settings: parsed settings of the sweep.
        arguments: command line of the sweep, without the command's name.
        parse: parses a command line that begins with the command's name.

    Raises:
        SystemExit: a flag is wrong, or a combination cannot be trained; one line on stderr names it.
    """
    try:
        grid, seeds = _grid(settings.get("grid", [])), _seeds(settings)
    except UsageError as error:
        raise SystemExit(complain(str(error))) from error
    common, parsed = _of_the_runs(arguments), list[Namespace]()
    for member in sweep_runs(grid, seeds):
        flags = [
            *common,
            *(f"--{key}={value}" for key, value in member.settings.items()),
            f"--seed={member.seed}",
        ]
        said = StringIO()
        try:
            with redirect_stderr(said):
                parsed.append(parse(["train", *flags])["train"])
        except SystemExit as ended:
            problem = (
                said.getvalue().replace("stepopsd: error: ", "").replace(" (see stepopsd train --help)", "")
            )
            unknown = [key for key in member.settings if f"unrecognized arguments: --{key}=" in problem]
            by_method = "credit.method" in member.settings  # another method of the grid may know it
            where = f"grid has {unknown[0]}" if unknown and not by_method else label(member.settings)
            raise SystemExit(complain(f"{where}: {problem}")) from ended
    return parsed


def _of_the_runs(arguments: Sequence[str]) -> list[str]:
    """Return the arguments without the flags in `OWN` and their values."""
    kept, skip = list[str](), False
    for argument in arguments:
        flag, equals, _ = argument.partition("=")
        if not skip and flag not in OWN:
            kept.append(argument)
        skip = not skip and flag in OWN and not equals
    return kept


def _grid(given: Sequence[str]) -> dict[str, list[str]]:
    """Parse ``--grid``: the values to try, by setting."""
    grid = dict[str, list[str]]()
    for text in given:
        key, equals, values = text.partition("=")
        key = key.removeprefix("--")
        chosen = [value for value in split(values) if value]
        if not key or not equals or not chosen:
            raise UsageError(f"grid is {text!r}; give a setting and its values, as in learner.lr=1e-4,3e-4")
        if key in ("seed", "threads", "out"):
            raise UsageError(
                f"grid is {text!r}, but a grid cannot vary {key}: use --{key}{'s' * (key == 'seed')}"
            )
        if key in grid:
            raise UsageError(
                f"grid has {key} twice; give all its values at once: {key}={','.join([*grid[key], values])}"
            )
        if len(set(chosen)) < len(chosen):
            raise UsageError(f"grid is {text!r}, which has a value twice; give every value once")
        grid[key] = chosen
    if not grid:
        raise UsageError(f"a sweep needs at least one --grid SETTING=VALUE,VALUE, for example: {EXAMPLE}")
    return grid


def split(values: str) -> list[str]:
    """Split at commas; a comma inside brackets or quotes is part of its value."""
    parts, depth, quote = [""], 0, ""
    for letter in values:
        if quote or letter in "'\"":
            quote = "" if letter == quote else quote or letter
        depth += (letter in OPEN) - (letter in CLOSE) if not quote else 0
        if letter == "," and not quote and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _seeds(settings: Namespace) -> list[int]:
    count = settings.get("seeds", SEEDS)
    if count < 1:
        raise UsageError(f"seeds is {count}; give the number of runs of each combination, 1 or more")
    return list(range(settings.seed, settings.seed + count))


def _planned(settings: Namespace) -> tuple[Path, dict[str, Any], list[bytes]]:
    """Check every combination; return the folder, its ``sweep.json``, and each run's config file."""
    out = fresh_folder(settings.get("out"), "sweep")
    grid = _grid(settings.grid)
    runs, files = sweep_runs(grid, _seeds(settings)), list[bytes]()
    threads = min(settings.threads or 1, allowed_threads())  # a run gets them as its own OMP_NUM_THREADS
    for member, trained in zip(runs, settings.trained, strict=True):
        try:
            trained.threads = threads
            config, name, _, fields = train.checked_settings(trained)
            refuse_fresh(config)
        except UsageError as error:
            raise UsageError(f"{label(member.settings)}: {error}") from error
        files.append(train.saved_settings(replace(config, threads=threads), name, fields))
    on_gpu = any(trained.device != "cpu" for trained in settings.trained)
    jobs = settings.get("jobs", 1 if on_gpu else max(1, allowed_processors() // threads))
    if jobs < 1:
        raise UsageError(f"jobs is {jobs}; give the number of runs at once, 1 or more")
    content = {
        "schema": SCHEMA,
        "grid": grid,
        "jobs": jobs,
        "threads": threads,
        "runs": [asdict(member) for member in runs],
    }
    return out, content, files


def _read(out: Path) -> dict[str, Any]:
    path = out / FILE
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path} is damaged ({error}); begin a new sweep") from error
    if content.get("schema") != SCHEMA:
        raise UsageError(f"{path} has schema {content.get('schema')!r}; this version reads {SCHEMA!r}")
    return content


def _config_file(out: Path, member: SweepRun) -> Path:
    return out / "configs" / f"{member.name}.yaml"


def _job(out: Path, member: SweepRun, threads: int) -> Job:
    return training_job(
        run_folder(out, member), _config_file(out, member), out / "logs" / f"{member.name}.log", threads
    )


def _report(out: Path, content: Mapping[str, Any], runs: Sequence[SweepRun]) -> None:
    """Print the table, and write table and picture to the sweep folder."""
    rows = sweep_rows(out, runs)
    print(rows_text(rows))
    print(
        "success: at the last evaluation; area: under the curve of success; both are means over seeds. The "
        "interval is Student's 95 % interval of success over seeds, and - where it cannot be known: fewer "
        "than two seeds, or equal ones"
    )
    write_json_atomic(out / FILE, {**content, "rows": rows, **environment_facts()})
    curves = {label(row["settings"]): row["curves"] for row in rows if row["curves"]}
    if curves:
        plot_curves(curves, out / PICTURE, title="Success at evaluation by update: runs and their mean")
    print(f"sweep folder: {out} ({FILE}{f', {PICTURE}' if curves else ''}, runs/, logs/)")
