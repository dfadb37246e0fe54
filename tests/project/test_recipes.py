"""The published settings: every file loads, says what the paper says, and marks what it does not."""

import re
from pathlib import Path

import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.cli.common import config_of
from stepopsd_agent.cli.main import parse
from stepopsd_agent.config import RunConfig, recipe, recipe_names
from stepopsd_agent.run.planning.shapes import KNOWN

RECIPES = [recipe(name) for name in recipe_names() if name.startswith("paper/")]
STATED = {
    "env": {"layout", "response", "id", "games", "questions", "retriever"},
    "model": {"path", "chat"},
    "rollout": {"tasks", "group_size", "slots", "max_tokens", "max_row_tokens"},
    "hindsight": {"position", "peer", "peer_for", "teacher", "refresh"},
    "schedule": {"kind", "decay_updates"},
    "credit": {"method", "lambda_mix", "alpha_clip", "weight", "step_norm", "span"},
    "learner": {"rescore_old"},
    "eval": {"questions"},
    "": {"device"},
}
"""Settings that the paper or its authors' code state, or that follow from this machine or environment."""


def loaded(path: Path) -> RunConfig:
    """The settings as the command line reads them."""
    return config_of(parse(["train", "--config", str(path)])["train"])


def test_recipes_cover_both_environments_and_models() -> None:
    """Four files, one of each."""
    names = {path.stem for path in RECIPES}
    assert names == {
        f"{env}_{model}" for env in ("alfworld", "searchqa") for model in ("qwen3_1.7b", "qwen2.5_3b")
    }


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_loads_with_the_papers_settings(path: Path) -> None:
    """Through the parser that users meet; the method can be made."""
    config = loaded(path)
    alfworld = path.stem.startswith("alfworld")
    assert config.rollout.tasks == (16 if alfworld else 128) and config.rollout.group_size == 8
    assert config.hindsight.refresh == 10 and config.hindsight.teacher == "stale"
    assert (config.schedule.kind, config.schedule.decay_updates) == ("linear", 50)
    assert config.rollout.max_row_tokens == (2560 if alfworld else 4608)
    assert config.model.path in KNOWN
    chosen = parse(["train", "--config", str(path)])["train"].credit.as_dict()
    method = credit.make(chosen.pop("method"), **chosen)
    assert method == credit.make("step_opsd", span="action" if alfworld else "turn")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_marks_every_guess(path: Path) -> None:
    """A setting is stated, or its line says that it is a guess, or why it is as it is."""
    section = ""
    for line in path.read_text().splitlines():
        found = re.match(r"(?P<indent> *)(?P<name>\w+):(?P<rest>.*)", line)
        if found is None:
            continue
        if not found["indent"]:
            section = found["name"] if not found["rest"].strip() else ""
        if found["rest"].strip() and found["name"] not in STATED.get(section, set()):
            assert "# guess" in line, line


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_can_be_planned_without_its_model(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No weights, no hub, no games, no card."""
    from stepopsd_agent.cli.main import main

    assert main(["plan", str(path), "--rate", "400", "--bandwidth", "2000"]) == 0
    shown = capsys.readouterr().out
    assert "parameters in torch.bfloat16" in shown and "150 updates" in shown
    assert torch.bfloat16.itemsize == 2
