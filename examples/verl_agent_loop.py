"""What verl needs to train on these environments: data files, the agent loop's settings, and the command.

verl 0.9.1 has its own versions of torch and transformers, so it is best installed in a place of its own:

    pip install -e '.[verl]'
    python examples/verl_agent_loop.py --model Qwen/Qwen3-1.7B --out runs/verl
"""

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

from stepopsd_agent.adapters import outcome_methods, verl_tasks
from stepopsd_agent.config import EnvConfig


def write_rows(rows: list[dict[str, Any]], path: Path) -> None:
    """Write rows as JSON lines, which verl's data set reads."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def main() -> None:
    """Write the files and print the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", required=True, help="folder or hub name of the model")
    parser.add_argument("--method", default="dr_grpo", choices=outcome_methods(), help="of credit")
    parser.add_argument("--tier", default="small", help="size of the generated houses")
    parser.add_argument("--out", type=Path, default=Path("runs/verl"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    env: dict[str, Any] = {"id": "stepopsd/ALFWorld-v0", "tier": given.tier, "response": "tags"}
    for name in ("train", "test"):
        config = EnvConfig(id=env["id"], arguments={"tier": given.tier, "split": name})
        write_rows(verl_tasks(config, f"alfworld_{name}"), given.out / f"{name}.jsonl")
    target = "stepopsd_agent.adapters.verl_loop.TextAgentLoop"
    loops = [
        {"name": f"alfworld_{name}", "_target_": target, "env": {**env, "split": name}, "max_tokens": 256}
        for name in ("train", "test")
    ]
    (given.out / "loops.yaml").write_text(json.dumps(loops, indent=2), encoding="utf-8")  # JSON is YAML
    settings = {
        "algorithm.adv_estimator": f"stepopsd_{given.method}",
        "data.train_files": given.out.resolve() / "train.jsonl",
        "data.val_files": given.out.resolve() / "test.jsonl",
        "actor_rollout_ref.model.path": given.model,
        "actor_rollout_ref.rollout.name": "vllm",
        "actor_rollout_ref.rollout.n": 8,
        "actor_rollout_ref.rollout.prompt_length": 1024,
        "actor_rollout_ref.rollout.response_length": 8192,
        "actor_rollout_ref.rollout.agent.agent_loop_config_path": given.out.resolve() / "loops.yaml",
    }
    flags = shlex.join(f"{name}={value}" for name, value in settings.items())
    print("VERL_USE_EXTERNAL_MODULES=stepopsd_agent.adapters.verl_plugin", end=" ")
    print(f"python -m verl.trainer.main_ppo {flags}")


if __name__ == "__main__":
    main()
