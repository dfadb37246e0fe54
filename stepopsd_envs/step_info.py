"""``StepInfo``: what every environment of this package says about a step, in ``info["step"]``."""

import json
from hashlib import blake2b
from importlib.resources import files
from typing import Any, Literal, TypedDict, get_args

SCHEMA: Literal["stepopsd.step/1"] = "stepopsd.step/1"

Kind = Literal["reset", "act", "search", "answer", "invalid"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class StepInfo(TypedDict):
    """One environment step and its place in the transcript; index k describes the world *after* step k."""

    schema: Literal["stepopsd.step/1"]
    episode_id: str
    """A hash of task id and seed. Two plays of one task under one seed share it."""
    index: int
    """0 at reset, k after the k-th step."""
    kind: Kind
    """What the action was; ``reset`` at index 0, ``invalid`` exactly when ``valid`` is False."""
    action: str
    """The string as received; empty for anything that is not a string, and at reset."""
    valid: bool
    """Whether the environment understood the action as a possible one. True at reset."""
    action_start: int
    action_end: int
    """``transcript[action_start:action_end]`` is exactly ``action``. Both 0 at reset."""
    observation_start: int
    observation_end: int
    """``transcript[observation_start:observation_end]`` is exactly the observation of this call."""
    anchor: str
    """``text_hash`` of the observation: equal observations have equal anchors."""
    state: str
    """Hash of the simulator state, without counters, transcript or random numbers."""
    terminal: bool
    """Whether this step terminated the episode."""


def text_hash(text: str) -> str:
    """A short stable hash of any text, lone surrogates included: 16 hexadecimal digits."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def json_schema() -> dict[str, Any]:
    """The JSON Schema of ``StepInfo``, as published in ``step_info.schema.json``."""
    text = files("stepopsd_envs").joinpath("step_info.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
