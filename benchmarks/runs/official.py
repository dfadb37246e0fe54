"""The tiny model on the official games: training on train, evaluation on all 134 valid_unseen games.

    python -m benchmarks.runs.official DATA_ROOT --out runs/official [--json FILE] [--seed 0]

``DATA_ROOT`` holds ``train`` and ``valid_unseen``. The model is evaluated at the start and at the end; the
random agent is evaluated for comparison. The exit code is 1 if the final success is not above the 95 %
interval of the start. A stopped run resumes; the reported time is that of the last call.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.runs.commands import alone, command, read, train_command, warm_start
from stepopsd_agent.config import recipe
from stepopsd_agent.rollout import headline, table_text
from stepopsd_agent.run import environment_facts
from stepopsd_agent.run.files import write_json_atomic

CONFIG = recipe("alfworld_official")


def run(out: Path, common: list[str]) -> None:
    """Warm start, training and random agent, each in its own folder; finished parts are kept."""
    warm_start(out / "warmstart", *common)
    if not (out / "step_opsd" / "summary.json").exists():
        alone(train_command("step_opsd", out, common))
    if not (out / "random" / "evaluation.json").exists():
        alone(command("eval", *common, "--agent", "random", "--out", str(out / "random")))


def summarise(out: Path) -> dict[str, Any]:
    """The summary of all parts."""
    trained, random = read(out / "step_opsd" / "summary.json"), read(out / "random" / "evaluation.json")
    return {
        "schema": "stepopsd.official/1",
        "rows": {
            "random agent": headline(random),
            "warm start": trained["start"],
            "after step_opsd": trained["final"],
        },
        **{key: trained[key] for key in ("by_task_type", "tokens", "env_steps", "fingerprint")},
    }


def main() -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.runs.official",
        description="Train the tiny model on the official games.",
    )
    parser.add_argument("data_root", type=Path, help="folder with train and valid_unseen")
    parser.add_argument("--out", type=Path, default=Path("runs/official"), help="run folder")
    parser.add_argument("--seed", type=int, default=0, help="seed of model, order of games and sampling")
    parser.add_argument("--json", type=Path, default=None, help="also write the summary here")
    arguments = parser.parse_args()
    out: Path = arguments.out
    common = ["--config", str(CONFIG), "--seed", str(arguments.seed)]
    began = time.perf_counter()
    try:
        run(out, [*common, "--env.data_root", str(arguments.data_root)])
    except KeyboardInterrupt:
        print("stopped; the same command resumes from here", file=sys.stderr)
        return 1
    summary = {
        **summarise(out),
        "wall_s": round(time.perf_counter() - began, 1),
        "seed": arguments.seed,
        "command": f"python -m benchmarks.runs.official DATA_ROOT --seed {arguments.seed}",
        **environment_facts(),
    }
    for path in filter(None, (out / "summary.json", arguments.json)):
        write_json_atomic(path, summary)
    start, final = summary["rows"]["warm start"], summary["rows"]["after step_opsd"]
    above = final["success"] > start["ci95"][1]
    print(table_text("agent", summary["rows"]))
    print(
        f"step_opsd {final['success']:.1%}, {summary['wall_s'] / 60:.1f} minutes: "
        f"{'above' if above else 'NOT above'} the warm start's interval, up to {start['ci95'][1]:.1%}"
    )
    return 0 if above else 1


if __name__ == "__main__":
    raise SystemExit(main())
