"""Does accurate credit train better? Methods and seeds under equal budgets, on one task set.

    python -m benchmarks.credit.learning --recordings DIR --out RUNS [--set full] [--seeds 5] [--json OUT]

Every run starts from the policy that `benchmarks.credit.record` keeps for the start of the set, which is made
if it is missing. All runs play the same number of attempts in the same number of updates, and are evaluated
every few updates on the same held-out tasks. The seed decides the order of tasks and the sampling. Finished
runs are kept and interrupted ones resumed, so the command can be repeated; ``--jobs`` runs are trained at
once, with one thread each. With ``--keep RESULT`` the runs of an earlier result count as well, so seeds or
methods can be added to it without the folder of its runs, and methods that are not named keep theirs.
``--match_norms`` scales advantages to the size of GRPO's; with ``--position`` teachers read their hindsight
elsewhere. The table has the area under the curve, the last
success (never the best), the updates until ``--reach``, environment steps and tokens, and, by rliable
(Agarwal et al. 2021), the interquartile mean over seeds and the probability that a run is better than one of
GRPO. It also has the success of the attempts trained on: each task comes once, so before the update it is as
new to the policy as a held-out one, but for what the warm start showed (three questions in eight of
`searchqa`, no house of `full`); there are many more of them, and a seed gives every method the same ones.
It needs the extra ``bench``.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import yaml

from benchmarks.credit.checks import check_evaluated, check_start, check_training, positive
from benchmarks.credit.paired import compared, differences, over_grpo
from benchmarks.credit.record import start
from benchmarks.credit.sets import SETS, folder
from benchmarks.output import write_result
from benchmarks.report.learning import draw_learning
from benchmarks.runs.commands import read
from stepopsd_agent.accuracy import entries
from stepopsd_agent.config import Position, config_to_dict
from stepopsd_agent.run import Job, area, curve, is_finished, run_jobs
from stepopsd_agent.run.files import read_rows, write_bytes_atomic

METHODS = (
    "grpo", "path_gain", "graph_gpo key=text", "step_opsd", "oracle", "gigpo", "g2po key=text",
    "graph_hca key=text", "step_opsd step_norm=none", "rlsd", "agent_opsd", "sdar",
)  # fmt: skip
"""Published graph methods have text keys, as `path_gain` has: bare observations merge too many states."""
Run = dict[str, Any]
"""Figures of one run."""
COMMAND = "python -m benchmarks.credit.learning --recordings DIR --out RUNS"


def train_command(options: argparse.Namespace, method: str, seed: int) -> list[str]:
    """The command that starts a run, or resumes it if it has begun."""
    out = run_folder(options, method, seed)
    begin = [sys.executable, "-m", "stepopsd_agent", "train"]
    if (out / "config.yaml").exists():
        return [*begin, "--resume", str(out)]
    name, *settings = method.split()
    chosen = ["--credit.method", name]
    for setting in settings:
        field, _, value = setting.partition("=")
        chosen += [f"--credit.{field}", value]
    if options.match_norms:
        chosen = ["--credit.method", "benchmarks.credit.matched:matched", "--credit.inner", method]
    truth = ["--env.oracle", "true"] if "optimal_distance" in entries([method])[0].make().needs else []
    start = folder(options.recordings, options.set, "start")
    common = ["--config", str(options.out / f"{options.set}.yaml"), "--model.path", str(start)]
    common += ["--hindsight.position", options.position] if options.position else []
    return [*begin, *common, *chosen, *truth, "--seed", str(seed), "--out", str(out)]


def run_folder(options: argparse.Namespace, method: str, seed: int) -> Path:
    """The folder of a run; methods without a teacher have the same one wherever teachers read."""
    told = options.position and "teacher_logprobs" in entries([method])[0].make().needs
    kind = "matched" if options.match_norms else options.position if told else "plain"
    name = method.replace(" ", ",").replace(":", ".")
    return Path(options.out, options.set, kind, name, str(seed))


def train_all(options: argparse.Namespace, pairs: Sequence[tuple[str, int]]) -> None:
    """Run all runs that are not finished, ``options.jobs`` at once; a failure does not stop the others.

    Raises:
        SystemExit: some failed; the log of each has the error.
    """
    failed = list[str]()

    def ended(job: Job, code: int) -> None:
        print(f"{job.name}: " + (f"exit code {code}; see {job.log}" if code else "done"), file=sys.stderr)
        failed.extend([job.name] if code else [])

    jobs = list[Job]()
    for method, seed in pairs:
        out = run_folder(options, method, seed)
        if not is_finished(out):
            command = train_command(options, method, seed)
            log = out.with_suffix(".log")
            jobs.append(Job(f"{method}, seed {seed}", command, log, {"OMP_NUM_THREADS": "1"}))
    run_jobs(jobs, options.jobs, ended)
    if failed:
        raise SystemExit(f"{len(failed)} runs failed: {'; '.join(failed)}")


def reached(points: Sequence[tuple[int, float]], success: float) -> int | None:
    """The first evaluated update with at least this success; None if there is none."""
    return next((update for update, found in points if found >= success), None)


def trained_on(run: Path) -> list[float]:
    """Success of the attempts of every update, played by the policy before that update."""
    return [row["train/success"] for row in read_rows(run / "metrics.jsonl") if "train/success" in row]


def of_folder(run: Path) -> Run:
    """The figures of a finished run.

    Raises:
        SystemExit: its last evaluation met nothing but errors.
    """
    summary, points = read(run / "summary.json"), curve(run)
    if not points:
        raise SystemExit(f"every episode of the last evaluation in {run} ended in an error; train it again")
    return {
        "trained_on": trained_on(run),
        "curve": points,
        "env_steps": summary["env_steps"],
        "tokens": sum(summary["tokens"].values()),
        "wall_s": summary["wall_s"],
    }


def of_result(options: argparse.Namespace) -> dict[str, list[Run]]:
    """The figures of the runs in the result ``--keep``, by method; those of seed 0 come first.

    GRPO's advantages have the size of GRPO's, so its runs count with matched norms, too.

    Raises:
        SystemExit: they are of another task set, of other norms or another place of the hindsight, or were
            evaluated at other updates.
    """
    if options.keep is None:
        return {}
    result = read(options.keep)
    updates = list(range(0, options.updates + 1, options.every))
    wanted = {"set": options.set, "matched": options.match_norms, "updates": updates}
    wanted["position"] = options.position
    if options.match_norms and not result["matched"]:
        result = {**result, "matched": True, "rows": {"grpo": result["rows"]["grpo"]}}
    for method, one in result["rows"].items():
        found = {"set": result["set"], "matched": result["matched"], "updates": one["updates"]}
        found["position"] = result.get("position")
        if found != wanted:
            raise SystemExit(
                f"{options.keep} has other runs of {method}: {found}, expected {wanted}; "
                f"leave --keep out, or name the result of these settings"
            )
    return {method: _split(one) for method, one in result["rows"].items()}


def _split(row: dict[str, Any]) -> list[Run]:
    """The runs of a row, as `of_folder` has them."""
    names = ("trained_on", "env_steps", "tokens", "wall_s")
    curves = [list(zip(row["updates"], curve, strict=True)) for curve in row["curves"]]
    return [{"curve": c, **{name: row[name][seed] for name in names}} for seed, c in enumerate(curves)]


def row(runs: Sequence[Run], reach: float) -> dict[str, Any]:
    """The figures of a method over its seeds."""
    curves, attempts = [run["curve"] for run in runs], [run["trained_on"] for run in runs]
    return {
        "trained_on": attempts,
        "training": [float(np.mean(success)) for success in attempts],
        "updates": [update for update, _ in curves[0]],
        "curves": [[success for _, success in points] for points in curves],
        "area": [area(points) for points in curves],
        "last": [points[-1][1] for points in curves],
        "updates_to_reach": [reached(points, reach) for points in curves],
        **{name: [run[name] for run in runs] for name in ("env_steps", "tokens", "wall_s")},
    }


def seeds_of(options: argparse.Namespace) -> range:
    """The seeds of the runs.

    Raises:
        SystemExit: they begin late, beside the runs of an earlier result, which are known by place alone.
    """
    if options.first_seed and options.keep is not None:
        raise SystemExit("--first_seed begins a result of its own; leave --keep out")
    return range(options.first_seed, options.first_seed + options.seeds)


def trained(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The rows of all methods, after training what is missing."""
    options.out.mkdir(parents=True, exist_ok=True)
    config = SETS[options.set].settings()
    start(options.recordings, options.set, config)
    settings = config_to_dict(config) | {"updates": options.updates}
    number = "num_questions" if options.set == "searchqa" else "num_games"
    settings["eval"] = {**settings["eval"], "every": options.every, number: options.tasks}
    del settings["warmstart"]
    write_bytes_atomic(options.out / f"{options.set}.yaml", yaml.safe_dump(settings).encode())
    runs = of_result(options)
    # A method that is named twice is one.
    pairs = [(method, seed) for seed in seeds_of(options) for method in dict.fromkeys(options.method)]
    pairs = [(method, seed) for method, seed in pairs if seed >= len(runs.get(method, []))]
    train_all(options, pairs)
    for method, seed in pairs:
        place = run_folder(options, method, seed)
        run = of_folder(place)
        check_evaluated(place, [update for update, _ in run["curve"]], options.updates, options.every)
        runs.setdefault(method, []).append(run)
    check_start([run["curve"] for found in runs.values() for run in found])
    return {method: row(found, options.reach) for method, found in runs.items()}


def add_training(parser: argparse.ArgumentParser, seeds: int) -> None:
    """Add the arguments that `trained` reads, but for methods, norms and the place of the hindsight."""
    parser.add_argument("--seeds", type=positive, default=seeds, help="runs of each method")
    parser.add_argument("--first_seed", type=int, default=0, help="seed of the first run (default: 0)")
    parser.add_argument("--updates", type=positive, default=30, help="updates of each run")
    parser.add_argument("--every", type=positive, default=10, help="updates between evaluations")
    parser.add_argument("--tasks", type=positive, default=100, help="held-out tasks of an evaluation")
    parser.add_argument("--reach", type=float, default=0.65, help="success whose first update is noted")
    parser.add_argument("--jobs", type=positive, default=2, help="runs side by side")
    parser.add_argument("--keep", type=Path, default=None, help="a result whose runs are not trained again")


def main() -> int:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.credit.learning",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--recordings", type=Path, required=True, help="folder of benchmarks.credit.record")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--set", choices=sorted(SETS), default="full", help="task set")
    parser.add_argument(
        "--method",
        nargs="+",
        default=list(METHODS),
        help="names, with settings after them",
    )
    add_training(parser, seeds=5)
    parser.add_argument("--match_norms", action="store_true", help="scale advantages to the size of GRPO's")
    parser.add_argument("--position", choices=get_args(Position), help="where teachers read their hindsight")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here")
    parser.add_argument("--picture", type=Path, default=None, help="draw the curves here")
    options = parser.parse_args()
    try:
        check_training(options.method)
    except ValueError as error:
        parser.error(str(error))
    rows = trained(options)
    figures, training = compared(rows, "area"), compared(rows, "training")
    for method in sorted(rows, key=lambda name: -figures[name]["iqm"]):
        low, high = figures[method]["ci95"]
        last = np.mean(rows[method]["last"])
        print(
            f"{method:28} area {figures[method]['iqm']:.3f} [{low:.3f}, {high:.3f}], last {last:.3f}, "
            f"training {training[method]['iqm']:.3f}"
        )
    seeds = max(len(one["curves"]) for one in rows.values())
    about: dict[str, Any] = {"set": options.set, "matched": options.match_norms, "seeds": seeds}
    about |= {"first_seed": options.first_seed, "reach": options.reach, "position": options.position}
    result = {**about, "rows": rows, "compared": figures, "compared_training": training}
    result |= {"over_grpo": over_grpo(rows), "differences": differences(rows)}
    if options.keep is not None:  # the commits whose runs were taken over, the oldest first
        earlier = read(options.keep)
        result["kept"] = [*earlier.get("kept", []), earlier["commit"]]
    if options.picture is not None:
        write_bytes_atomic(options.picture, draw_learning(result))
    if options.json is not None:
        write_result(options.json, result, COMMAND)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
