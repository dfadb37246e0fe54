"""The task sets of the credit benchmark, and the folders of their recorded groups.

A set has policies at three stages of one GRPO training, and for each stage groups of attempts at two disjoint
sets of tasks: `tuning`, on which settings may be chosen, and `test`, on which results are reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from stepopsd_agent import tasks
from stepopsd_agent.config import RunConfig, config_from_dict, recipe
from stepopsd_agent.models import Policy, load_policy

Stage = Literal["start", "middle", "end"]
Part = Literal["tuning", "test"]
STAGES: tuple[Stage, ...] = ("start", "middle", "end")
PARTS: tuple[Part, ...] = ("tuning", "test")


@dataclass(frozen=True)
class TaskSet:
    """A kind of tasks, the settings with which policies are trained on them, and the number of groups.

    Attributes:
        config: recipe of the settings.
        env: changes to the environment's arguments.
        rollout: changes to the rollout settings.
        warmstart: changes to the warm start.
        hindsight: changes to what teachers read.
        begins: changes to the environment of the warm start alone, if the demonstrations are of another kind
            of task than the training.
        learner: changes to the learner settings.
        run: changes to settings that belong to no section.
        truth: constructor arguments with which records contain the ground truth.
        tuning: changes to the environment for the tuning groups.
        test: changes for the test groups.
        groups: number of groups in either part.
        policies: the set whose policies play, if none are trained on these tasks.
        model: what the warm start begins with, see `benchmarks.credit.reader.load_reader`; None for a fresh
            tiny model.
        stages: of training that are recorded; with the start alone nothing is trained.
    """

    config: str
    env: dict[str, Any] = field(default_factory=dict)
    rollout: dict[str, Any] = field(default_factory=dict)
    warmstart: dict[str, Any] = field(default_factory=dict)
    hindsight: dict[str, Any] = field(default_factory=dict)
    begins: dict[str, Any] = field(default_factory=dict)
    learner: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    truth: dict[str, Any] = field(default_factory=dict)
    tuning: dict[str, Any] = field(default_factory=lambda: {"split": "train"})
    test: dict[str, Any] = field(default_factory=lambda: {"split": "test"})
    groups: dict[str, int] = field(default_factory=lambda: {"tuning": 64, "test": 128})
    policies: str | None = None
    model: str | None = None
    stages: tuple[Stage, ...] = STAGES

    def settings(self, short: bool = False) -> RunConfig:
        """The settings of warm start and training."""
        config = config_from_dict(yaml.safe_load(recipe(self.config).read_text(encoding="utf-8")))
        config, changes = replace(config, **self.run), dict(self.warmstart)
        if short:
            few = min(200, changes.get("demonstrations", 200))
            changes |= {"demonstrations": few, "novice_demonstrations": 0, "passes": 1}
            config = replace(config, updates=2, rollout=replace(config.rollout, tasks=2, group_size=4))
        # The benchmark does not evaluate; a warm start ends with an evaluation.
        arguments = config.eval.arguments
        evaluated = {name: 4 for name in arguments if name.startswith("num_")} if short else {}
        return replace(
            config,
            threads=1,
            env=config.env.changed(**self.env),
            rollout=replace(config.rollout, **self.rollout),
            warmstart=replace(config.warmstart, **changes),
            hindsight=replace(config.hindsight, **self.hindsight),
            learner=replace(config.learner, **self.learner),
            eval=replace(config.eval, every=0, arguments={**arguments, **evaluated}),
        )


HOUSES: dict[str, Any] = {
    "config": "alfworld_quickstart",
    "warmstart": {
        "demonstrations": 6000,
        "passes": 3,
        "batch_rows": 4,
        "lr": 4.0e-3,
        "muon_lr": 0.0125,
        "hindsight_share": 0.15,
        "mistake_rate": 0.1,
        "novice_demonstrations": 3000,
        "novice_mistake_rate": 0.4,
    },
    "learner": {"lr": 1.0e-3, "muon_lr": 0.008},
    "run": {"updates": 50},
    "truth": {"oracle": True},
}
"""Sets on generated houses. Warm start, learning rates and updates are stated here, since recordings are
compared over time, while the recipe may change."""
MOVED: dict[str, Any] = {
    **HOUSES,
    "env": {"tier": "full", "step_limit": 50},
    "rollout": {"max_row_tokens": 2040},
    "warmstart": {**HOUSES["warmstart"], "demonstrations": 12000, "passes": 1, "novice_demonstrations": 0},
    "begins": {"tier": "small", "step_limit": 30},
    "learner": {"lr": 3.0e-4, "muon_lr": 0.002},
    "run": {"updates": 30},
}
"""From small houses to full ones: a policy that reads well, from demonstrations without imitated mistakes,
plays in larger houses than it has seen. Chosen by the training success of GRPO alone, on another seed."""
SETS: dict[str, TaskSet] = {
    "small": TaskSet(**HOUSES),
    "full": TaskSet(**MOVED),
    "official": TaskSet(
        "alfworld_quickstart",
        env={"games": "valid_seen", "step_limit": 50},
        rollout=MOVED["rollout"],
        truth=MOVED["truth"],
        tuning={"games": "valid_seen"},
        test={"games": "valid_unseen"},
        policies="full",
    ),
    "pretrained": TaskSet(
        "alfworld_quickstart",
        rollout={"max_row_tokens": 2040, "max_tokens": 24},
        warmstart={
            "demonstrations": 160,
            "passes": 1,
            "batch_rows": 4,
            "lr": 1.0e-4,
            "muon_lr": 0.0,
            "hindsight_share": 0.15,
            "mistake_rate": 0.1,
            "observation_weight": 0.0,
        },
        hindsight={"max_peer_tokens": 256},  # names of things are several tokens in its vocabulary
        truth=HOUSES["truth"],
        groups={"test": 32},
        model="smollm2",
        stages=("start",),
    ),
    "searchqa": TaskSet("searchqa_quickstart", env={"task_types": None, "max_turns": 4}),
}


def stages_of(name: str, asked: Sequence[Stage] | None) -> tuple[Stage, ...]:
    """The stages that are asked for; without any, all that a set is recorded at.

    Raises:
        ValueError: the set is not recorded at one of them.
    """
    there = SETS[name].stages
    if missing := set(asked or ()) - set(there):
        raise ValueError(
            f"{name} is not recorded at {', '.join(sorted(missing))}; its stages: {', '.join(there)}"
        )
    return tuple(asked or there)


def folder(root: Path, name: str, stage: Stage, part: Part | None = None) -> Path:
    """The folder of a stage's policy, or with `part` of the groups that it played."""
    if part is None:
        name = SETS[name].policies or name
    return root / name / stage / (part or "model")


def stage_policy(root: Path, name: str, stage: Stage) -> Policy:
    """A stage's policy, with the system message of its environment, as it was warm-started with."""
    system = tasks.get(SETS[name].settings().env.id).system
    return load_policy(str(folder(root, name, stage)), device="cpu", system=system)


def recorded(root: Path, name: str, stage: Stage, part: Part) -> Path:
    """The folder of the groups that a stage's policy played.

    Raises:
        FileNotFoundError: nothing was recorded there; the message has the command that does.
    """
    place = folder(root, name, stage, part)
    if not (place / "episodes").is_dir():
        raise FileNotFoundError(
            f"{place}: there is no such recording; make it with: python -m benchmarks.credit.record --out "
            f"{root} --set {name}"
        )
    return place
