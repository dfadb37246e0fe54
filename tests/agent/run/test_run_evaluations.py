"""A run's evaluations: where it ends before its time, and in what it shows."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stepopsd_agent import credit
from stepopsd_agent.run import Interrupted, Run, Trainer, run_training
from stepopsd_agent.run.files.metrics_log import evaluations, read_rows
from tests.helpers.runs import demonstrations, fresh, run_config

pytestmark = pytest.mark.samples


@pytest.mark.parametrize("updates", [1, 2])
def test_run_ended_early_by_its_config_is_evaluated_where_it_ends(tmp_path: Path, updates: int) -> None:
    """Stopped after two of its six updates; the end is theirs, and not the evaluation before training."""
    demos, calls = demonstrations(20), iter(range(9))
    small = {"rollout": {"tasks": 1, "group_size": 2, "slots": 2}, "hindsight": {"mode": "none"}}
    begun = Run(Trainer(run_config(**small), credit.make("grpo"), fresh(demos), run="run"), tmp_path)
    with closing(begun), pytest.raises(Interrupted, match="after update 2 of 6"):
        begun.go(lambda: next(calls) == 2)
    fewer = run_config(updates=updates, **small)
    summary = run_training(fewer, "grpo", credit.make("grpo"), fresh(demos), tmp_path)
    assert summary["updates"] == 2
    assert [update for update, _ in evaluations(read_rows(tmp_path / "metrics.jsonl"))] == [0, 2]


def test_time_of_the_first_evaluation_is_none_of_the_updates(tmp_path: Path) -> None:
    """The bar of training begins behind it: time left is told from the updates alone."""
    shown = list[str]()

    class Shown(Run):
        def progress(self, *arguments: Any, **settings: Any) -> Any:
            shown.append(arguments[1])
            return super().progress(*arguments, **settings)

    small = {"rollout": {"tasks": 1, "group_size": 2, "slots": 2}, "hindsight": {"mode": "none"}}
    config = run_config(updates=1, **small)
    trainer = Trainer(config, credit.make("grpo"), fresh(demonstrations(20)), run="run")
    with closing(Shown(trainer, tmp_path)) as run:
        run.go(lambda: False)
    assert shown == ["evaluating", "training", "evaluating"]
