"""StepInfo, its hash, its JSON Schema and the check of both."""

import pickle
import subprocess
import sys
from typing import Any, get_type_hints

import gymnasium as gym
import jsonschema
import numpy as np
import pytest

import stepopsd_envs
from stepopsd_envs.step_info import KINDS, SCHEMA, StepInfo, json_schema, text_hash
from stepopsd_envs.testing import check_step_info

JSON_NAMES = {str: "string", int: "integer", bool: "boolean"}


def step_info(**changes: Any) -> dict[str, Any]:
    """A StepInfo as of the first step, with fields changed."""
    step = {
        "schema": SCHEMA,
        "episode_id": "0" * 16,
        "index": 1,
        "kind": "act",
        "action": "look",
        "valid": True,
        "action_start": 3,
        "action_end": 7,
        "observation_start": 8,
        "observation_end": 9,
        "anchor": "a" * 16,
        "state": "f" * 16,
        "terminal": False,
    }
    return {**step, **changes}


WRONG = [
    {"schema": "stepopsd.step/2"},
    {"episode_id": "xyz"},
    {"index": -1},
    {"index": True},
    {"index": 1.0},
    {"index": None},
    {"index": 0},
    {"kind": "jump"},
    {"kind": "reset"},
    {"kind": "invalid"},
    {"action": None},
    {"valid": False},
    {"valid": 1},
    {"action_start": -3},
    {"anchor": "A" * 16},
    {"state": "f" * 15},
    {"terminal": None},
    {"extra": 1},
]


def test_text_hash_is_stable_across_versions_and_processes() -> None:
    """A known value, and the same under any PYTHONHASHSEED."""
    # blake2b of the UTF-8 bytes, 8 bytes long: printf '' | b2sum -l 64
    assert text_hash("") == "e4a6a0577479b2b4"
    code = "from stepopsd_envs.step_info import text_hash; print(text_hash('caf\\u00e9'))"
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout.decode()
        for seed in ("1", "2")
    }
    assert printed == {text_hash("caf\u00e9") + "\n"}


def test_text_hash_takes_lone_surrogates() -> None:
    """They cannot be encoded strictly, yet they differ."""
    assert len({text_hash("\ud800"), text_hash("\udfff"), text_hash("?")}) == 3


def test_json_schema_lists_the_fields_of_step_info() -> None:
    """The published schema and the Python type name the same fields and types."""
    schema = json_schema()
    hints = get_type_hints(StepInfo)
    assert list(schema["properties"]) == list(hints) == schema["required"]
    assert schema["properties"]["kind"]["enum"] == list(KINDS)
    for name, hint in hints.items():
        assert schema["properties"][name]["type"] == JSON_NAMES.get(hint, "string")


def test_json_schema_and_check_step_info_accept_a_step() -> None:
    """Steps of three kinds are fine by both."""
    for step in (step_info(), step_info(kind="invalid", valid=False), step_info(kind="reset", index=0)):
        jsonschema.validate(step, json_schema())
        check_step_info(step)


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_check_step_info_rejects_what_the_schema_rejects(change: dict[str, Any]) -> None:
    """The small validation in the product agrees with the real validator."""
    step = step_info(**change)
    if change != {"index": 1.0}:  # JSON has one kind of number; Python code may rely on int
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(step, json_schema())
    with pytest.raises(AssertionError):
        check_step_info(step)


def test_check_step_info_rejects_a_missing_field() -> None:
    """And says which one is missing."""
    step = step_info()
    del step["anchor"]
    with pytest.raises(AssertionError, match="anchor"):
        check_step_info(step)


class Notes(gym.Env[np.int64, np.int64]):
    """Gives one prepared info per call."""

    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, infos: list[dict[str, Any]]) -> None:
        self.infos = pickle.loads(pickle.dumps(infos))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Give the first info."""
        return 0, self.infos.pop(0)

    def step(self, action: np.int64) -> Any:
        """Give the next info."""
        return 0, 0.0, True, False, self.infos.pop(0)


def test_unbatch_info_gives_each_environments_info_back() -> None:
    """Values, types and nesting are as the environment gave them."""
    rows = [
        {
            "step": step_info(action=str(i)),
            "won": i > 0,
            "admissible_commands": ["a"] * i,
            "f1": i / 2,
            "n": i,
        }
        for i in range(3)
    ]
    envs = gym.vector.SyncVectorEnv([lambda row=row: Notes([row]) for row in rows])  # type: ignore[misc]
    _, infos = envs.reset()
    for i, row in enumerate(rows):
        back = stepopsd_envs.unbatch_info(infos, i)
        assert back == row
        assert {key: type(value) for key, value in back.items()} == {key: type(row[key]) for key in row}
        assert type(back["step"]["index"]) is int and type(back["step"]["valid"]) is bool


def test_unbatch_info_leaves_out_what_other_environments_have() -> None:
    """The masks say which keys an environment had."""
    rows = [{"won": True}, {"won": False, "episode": {"r": 1.0}}]
    envs = gym.vector.SyncVectorEnv([lambda row=row: Notes([row]) for row in rows])  # type: ignore[misc]
    _, infos = envs.reset()
    assert [stepopsd_envs.unbatch_info(infos, i) for i in range(2)] == rows


def test_unbatch_info_reaches_the_final_info_of_an_episode() -> None:
    """With autoreset in the same step, the last info hangs below the new one."""
    rows = [[{"won": False}, {"won": True}, {"won": False}] for _ in range(2)]
    mode = gym.vector.AutoresetMode.SAME_STEP
    envs = gym.vector.SyncVectorEnv([lambda row=row: Notes(row) for row in rows], autoreset_mode=mode)  # type: ignore[misc]
    envs.reset()
    *_, infos = envs.step(np.zeros(2, dtype=np.int64))
    assert stepopsd_envs.unbatch_info(infos, 1) == {"won": False, "final_obs": 0, "final_info": {"won": True}}


def test_importing_stepopsd_envs_imports_nothing_heavy() -> None:
    """Not torch, not transformers, nothing that takes seconds."""
    code = "import sys, stepopsd_envs; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    loaded = set(eval(run.stdout))
    heavy = {"torch", "transformers", "alfworld", "textworld", "matplotlib", "pandas", "rich", "jsonargparse"}
    assert not loaded & heavy
    assert "gymnasium" in loaded


def test_importing_stepopsd_envs_imports_no_environment() -> None:
    """Ids are registered as strings."""
    code = "import sys, stepopsd_envs; print('stepopsd_envs.alfworld.env' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert run.stdout == "False\n"
