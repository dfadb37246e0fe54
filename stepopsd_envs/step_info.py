"""``StepInfo``: the record in ``info["step"]`` with which every environment here describes a step."""

import json
from collections.abc import Mapping
from hashlib import blake2b
from importlib.resources import files
from typing import Any, Literal, TypedDict, get_args

SCHEMA: Literal["stepopsd.step/1"] = "stepopsd.step/1"

Kind = Literal["reset", "act", "search", "answer", "invalid"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class StepInfo(TypedDict):
    """One environment step and its spans in the transcript; index k describes the world *after* step k.

    Spans are (start, end) in code points. The reset is a step too, with index 0.
    """

    schema: Literal["stepopsd.step/1"]
    episode_id: str
    """Hash of task id and seed: two episodes of the same task and seed have the same id."""
    index: int
    """0 at reset, k after the k-th step."""
    kind: Kind
    """Kind of the action: ``reset`` exactly at index 0, ``invalid`` exactly when ``valid`` is False."""
    action: str
    """The action as received; empty at reset, and for an action that is not a string."""
    valid: bool
    """Whether the environment accepted the action as possible. True at reset."""
    action_start: int
    action_end: int
    """``transcript[action_start:action_end]`` is exactly ``action``. Both 0 at reset."""
    observation_start: int
    observation_end: int
    """``transcript[observation_start:observation_end]`` is exactly the observation of this step."""
    anchor: str
    """``text_hash`` of the observation: equal observations have equal anchors."""
    state: str
    """Hash of the simulator state; step counter, transcript and random generators do not enter."""
    terminal: bool
    """Whether this step terminated the episode."""


OF_RESET: Mapping[str, type] = {"task_id": str, "task_type": str, "won": bool}
"""What the info of a reset says beside its StepInfo wherever episodes are recorded."""
OF_STEP: Mapping[str, type] = {"won": bool}
"""What the info of every other step says."""


def facts_problem(info: Mapping[str, Any], *, reset: bool) -> str:
    """What an info lacks that tables, training and the page read in records; empty if it lacks nothing."""
    for name, kind in (OF_RESET if reset else OF_STEP).items():
        if not isinstance(info.get(name), kind):
            got = f"{info[name]!r:.80}" if name in info else "missing"
            return (
                f"info[{name!r}] is {got}, but records need a {kind.__name__} there: task_id and task_type "
                "at the reset, won at every step; environments give them in info, a TextEnv in _facts()"
            )
    return ""


def recorded_problem(info: Mapping[str, Any], index: int) -> str:
    """Why the info of a recorded step is not as the recorder wrote it; empty if nothing speaks against it.

    Args:
        info: as it was read.
        index: of the step in its episode.
    """
    step = info.get("step")
    if not isinstance(step, dict) or step.get("index") != index:
        return f"info.step is {step!r:.80}, not the StepInfo of step {index}"
    missing = sorted((OF_STEP if index else OF_RESET).keys() - info.keys())
    return f"info has no {', '.join(missing)}" if missing else ""


def text_hash(text: str) -> str:
    """Stable hash of any text, also one with lone surrogates: 16 hexadecimal digits."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def hash_number(digits: str) -> int:
    """A hash of 16 hexadecimal digits as a signed integer of 64 bits, which a tensor can hold."""
    return int.from_bytes(bytes.fromhex(digits), "big", signed=True)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of ``StepInfo``, read from ``step_info.schema.json``."""
    text = files("stepopsd_envs").joinpath("step_info.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
