"""What commands tell users of an environment or a method of their own: nothing that it would refuse."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import pytest

from stepopsd_agent.tasks import get, registry
from tests.helpers.command_line import own_method, refusal, run

GUESS = "own_environment:own/GuessNumber-v0"


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example can be imported; both registries are as before afterwards."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "examples"))
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    yield
    sys.modules.pop("own_environment", None)
    gym.registry.pop("own/GuessNumber-v0", None)


def test_help_of_an_environment_of_ones_own_has_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    """Not those of a setting of ours that has the same name: its limit counts guesses."""
    assert run("train", f"--env.id={GUESS}", "--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "--env.step_limit INT guesses before an episode is truncated [5]" in shown
    assert "--env.id TEXT Gymnasium id, or module:id" in shown


METHOD = '''
from dataclasses import dataclass

from stepopsd_agent import credit
from stepopsd_agent.credit.grpo import GRPO


@dataclass(frozen=True)
class Clipped(GRPO):
    """Advantages with a bound.

    Attributes:
        alpha_clip: largest advantage there is.
    """

    alpha_clip: float = 3.0


credit.register("clipped", "method_with_a_clip:Clipped")
'''


def test_help_of_a_credit_method_of_ones_own_has_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its clip bounds something else than ours does."""
    own_method(tmp_path / "method_with_a_clip.py", METHOD, monkeypatch)
    assert run("train", "--credit.method=method_with_a_clip:clipped", "--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "--credit.alpha_clip FLOAT largest advantage there is [3.0]" in shown
    assert "see stepopsd credit list; or module:name" in shown


def test_train_advises_a_warm_start_only_where_an_expert_can_demonstrate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise a pretrained model, or an expert in the task spec."""
    train = ["train", f"--env.id={GUESS}", "--threads=1", "--out=x"]
    assert "stepopsd warmstart --out FOLDER" in refusal(capsys, *train)
    monkeypatch.setattr(sys.modules["own_environment"], "SPEC", replace(get(GUESS), expert=None))
    line = refusal(capsys, *train)
    assert "warmstart --out" not in line
    assert "--model.path a pretrained model" in line and "would have to name an expert" in line


def test_credit_compare_advises_the_oracle_only_where_the_constructor_has_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An environment without it can report the distance itself."""
    folder, own = str(tmp_path / "records"), [f"--env.id={GUESS}", "--threads=1"]
    assert run("record", *own, "--agent=random", "--episodes=2", f"--out={folder}") == 0
    capsys.readouterr()
    line = refusal(capsys, "credit", "compare", folder, *own)
    assert "own/GuessNumber-v0 has no setting env.oracle" in line and "optimal_distance" in line
    assert "--env.oracle true" not in line
