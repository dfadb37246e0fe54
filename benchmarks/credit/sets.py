"""The task sets of the credit benchmark, and where their recorded groups lie.

A set has policies at three stages of a GRPO training, and for each stage groups of attempts at two disjoint
sets of tasks: `tuning`, on which settings may be chosen, and `test`, which is reported.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from stepopsd_agent.config import RunConfig, config_from_dict

Stage = Literal["start", "middle", "end"]
Part = Literal["tuning", "test"]
STAGES: tuple[Stage, ...] = ("start", "middle", "end")
PARTS: tuple[Part, ...] = ("tuning", "test")
CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@dataclass(frozen=True)
class TaskSet:
    """A kind of tasks, the settings under which policies learn them, and the size of what is recorded.

    Attributes:
        config: file of the settings.
        env: changes to the environment's arguments.
        warmstart: changes to the warm start.
        told: constructor arguments that make records tell the truth.
        tuning: changes to the environment for the tuning groups.
        test: changes for the test groups.
        groups: number of groups in either part.
    """

    config: str
    env: dict[str, Any] = field(default_factory=dict)
    warmstart: dict[str, Any] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)
    tuning: dict[str, Any] = field(default_factory=lambda: {"split": "train"})
    test: dict[str, Any] = field(default_factory=lambda: {"split": "test"})
    groups: dict[str, int] = field(default_factory=lambda: {"tuning": 64, "test": 128})

    def settings(self, short: bool = False) -> RunConfig:
        """The settings of warm start and training."""
        config = config_from_dict(yaml.safe_load((CONFIGS / self.config).read_text(encoding="utf-8")))
        changes = dict(self.warmstart)
        if short:
            changes |= {"demonstrations": 200, "novice_demonstrations": 0, "passes": 1}
            config = replace(config, updates=2, rollout=replace(config.rollout, tasks=2, group_size=4))
        # Evaluation is no part of the benchmark; a warm start ends with one.
        arguments = config.eval.arguments
        evaluated = {name: 4 for name in arguments if name.startswith("num_")} if short else {}
        return replace(
            config,
            threads=1,
            env=config.env.changed(**self.env),
            warmstart=replace(config.warmstart, **changes),
            eval=replace(config.eval, every=0, arguments={**arguments, **evaluated}),
        )


SETS: dict[str, TaskSet] = {
    "small": TaskSet("alfworld_quickstart.yaml", told={"oracle": True}),
    "full": TaskSet(
        "alfworld_quickstart.yaml", env={"tier": "full", "step_limit": 50}, told={"oracle": True}
    ),
    "searchqa": TaskSet("searchqa_quickstart.yaml", env={"task_types": None, "max_turns": 4}),
}


def folder(root: Path, name: str, stage: Stage, part: Part | None = None) -> Path:
    """Where a stage's policy, or the groups that it played, lie."""
    return root / name / stage / (part or "model")
