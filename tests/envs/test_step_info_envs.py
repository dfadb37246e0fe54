"""The JSON Schema of StepInfo as it is installed, on what every environment and engine says."""

import importlib.util
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import gymnasium as gym
import jsonschema
import numpy as np
import pytest

from stepopsd_envs import unbatch_info
from stepopsd_envs.step_info import json_schema
from stepopsd_envs.testing import HOSTILE_TEXTS, check_step_info

IDS = sorted(env_id for env_id in gym.registry if env_id.startswith("stepopsd/"))
NO_TEXTWORLD = pytest.mark.skipif(
    importlib.util.find_spec("fast_downward") is None or importlib.util.find_spec("alfworld") is None,
    reason="alfworld and TextWorld are not installed (extra alfworld)",
)
SEARCHES = ["<search>born in</search>", "<answer>nobody</answer>", "<search>was founded</search>"]
CASES = [
    *(pytest.param(env_id, {}, id=env_id) for env_id in IDS),
    pytest.param("stepopsd/SearchQA-v0", {"tier": "tiny", "reward": "f1", "max_turns": 1}, id="one search"),
    pytest.param("stepopsd/ALFWorld-v0", {"tier": "tiny", "admissible": False}, id="not admissible"),
    pytest.param("stepopsd/ALFWorld-v0", {"tier": "full", "domain_randomization": True}, id="renumbered"),
    pytest.param(
        "stepopsd/ALFWorld-v0", {"tier": "tiny", "engine": "textworld"}, id="textworld", marks=NO_TEXTWORLD
    ),
]


def infos_of(env: gym.Env[Any, Any], steps: int = 25) -> list[dict[str, Any]]:
    """The infos of a few episodes with possible, impossible and hostile actions."""
    rng = np.random.default_rng(0)
    infos, over = [env.reset(seed=0)[1]], False
    for number in range(steps):
        if over:
            infos.append(env.reset()[1])
        offered = infos[-1].get("admissible_commands") or SEARCHES
        odd: list[Any] = [*HOSTILE_TEXTS, None, 3]
        action = odd[number % len(odd)] if number % 3 == 2 else offered[int(rng.integers(len(offered)))]
        *_, terminated, truncated, info = env.step(action)
        infos.append(info)
        over = terminated or truncated
    return infos


@pytest.mark.parametrize(("env_id", "settings"), CASES)
def test_every_step_follows_the_schema(env_id: str, settings: dict[str, Any]) -> None:
    """By a real validator and by the check that the package brings."""
    validator = jsonschema.Draft202012Validator(json_schema())
    steps = [info["step"] for info in infos_of(gym.make(env_id, **settings))]
    for step in steps:
        validator.validate(step)
        check_step_info(step)
    assert {step["valid"] for step in steps} == {True, False}
    for change in ({"index": "0"}, {"state": ""}, {"terminal": 0}, {"more": 1}):
        assert not validator.is_valid({**steps[-1], **change})


def test_steps_of_official_games_follow_the_schema(official_games: Path) -> None:
    """To the end of a walkthrough."""
    env = gym.make("stepopsd/ALFWorld-v0", games=official_games / "valid_unseen", step_limit=8)
    for info in infos_of(env, 60):
        jsonschema.validate(info["step"], json_schema())


def test_steps_of_vector_environments_follow_the_schema() -> None:
    """Taken apart again they are plain Python."""
    envs = gym.make_vec("stepopsd/ALFWorld-v0", num_envs=3, tier="tiny", step_limit=2)
    infos = [envs.reset(seed=0)[1], *(envs.step(["look", "", "\ud800"])[-1] for _ in range(4))]
    for batch in infos:
        for slot in range(3):
            step = unbatch_info(batch, slot)["step"]
            jsonschema.validate(step, json_schema())
            assert json.loads(json.dumps(step)) == step


def test_schema_is_installed_and_is_a_schema() -> None:
    """Beside the code, as JSON; of a draft that validators know."""
    file = files("stepopsd_envs").joinpath("step_info.schema.json")
    assert json.loads(file.read_text("utf-8")) == json_schema()
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert json_schema()["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]
