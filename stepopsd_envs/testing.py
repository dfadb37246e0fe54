"""``check_text_env``: checks the contract of the text environments, after Gymnasium's own checker.

It is meant for authors of environments based on ``TextEnv``. It raises ``AssertionError`` at the first broken
rule of the contract and names the rule.
"""

import contextlib
import io
import pickle
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

from stepopsd_envs.step_info import json_schema, text_hash
from stepopsd_envs.text_env import TextEnv

HOSTILE_TEXTS = ("", " ", "\n", "\x00\x1b[31m\x7f", "\ud800", "caf\u00e9 \U0001f600", "look " * 200_000)
HOSTILE_OBJECTS = (None, 3, float("nan"), b"look", ["look"], {"action": "look"}, object(), np.zeros(2))
JSON_TYPES: dict[str, type] = {"string": str, "integer": int, "boolean": bool}


class Turn(NamedTuple):
    """Result of one call of ``reset`` (``action`` is None) or ``step``, and the transcript after it."""

    action: Any
    observation: str
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]
    transcript: str


def check_text_env(env: gym.Env[Any, Any], *, seed: int = 0, steps: int = 10) -> None:
    """Assert that ``env`` keeps the contract of the text environments.

    Args:
        env: an environment whose ``unwrapped`` is a ``TextEnv``.
        seed: seed of resets and of the sampled actions.
        steps: maximum number of steps in each episode played.

    Raises:
        AssertionError: a rule is broken; the message names it.
    """
    base = env.unwrapped
    _require(isinstance(base, TextEnv), f"{type(base).__name__} is not a TextEnv")
    assert isinstance(base, TextEnv)
    with contextlib.redirect_stdout(io.StringIO()):  # hides the output of render mode "human"
        _check_gymnasium(base)
        turns = _play(base, seed, steps)
        check_turns(turns)
        _check_determinism(base, seed, turns)
        _check_named_task(base, seed)
        _check_snapshot(base, seed, turns)
        _check_hostile_actions(base, seed)
        _check_reset_needed(base, seed)


def check_turns(turns: Sequence[Turn]) -> None:
    """Assert every rule that the calls of one episode alone can show; ``turns[0]`` is the reset."""
    earlier: list[Any] = []
    types = _types(turns[0].info)
    for index, turn in enumerate(turns):
        where = f"info of call {index}"
        _require(_types(turn.info) == types, f"{where}: keys and types {_types(turn.info)}, at reset {types}")
        _require(not any(_nones(turn.info, where)), f"None at {list(_nones(turn.info, where))}")
        fresh = list(_containers(turn.info))
        shared = [value for value in fresh if any(value is other for other in earlier)]
        _require(not shared, f"{where} shares a container with an earlier info: {shared!r:.200}")
        earlier += fresh
        check_step_info(turn.info["step"])
        _check_turn(index, turn, turns[max(index - 1, 0)])
    for turn in turns:
        _check_spans(turn, turns[-1].transcript)


def check_step_info(step: dict[str, Any]) -> None:
    """Assert that one ``info["step"]`` follows ``step_info.schema.json``."""
    properties = json_schema()["properties"]
    _require(step.keys() == properties.keys(), f"StepInfo has {sorted(step)}, must have {sorted(properties)}")
    for key, rule in properties.items():
        problem = _broken_rule(step[key], rule)
        _require(not problem, f"StepInfo {key}={step[key]!r:.80} {problem}")
    _require((step["kind"] == "reset") == (step["index"] == 0), f"kind and index disagree: {step!r:.300}")
    _require((step["kind"] == "invalid") != step["valid"], f"kind and valid disagree: {step!r:.300}")


def _broken_rule(value: Any, rule: dict[str, Any]) -> str:
    """The violated rule of ``value``, empty if there is none; knows the JSON Schema keywords in use."""
    if type(value) is not JSON_TYPES[rule["type"]]:
        return f"is not of type {rule['type']}"
    if value not in rule.get("enum", [value]):
        return f"is not one of {rule['enum']}"
    if value < rule.get("minimum", value):
        return f"is below {rule['minimum']}"
    if "pattern" in rule and not re.fullmatch(rule["pattern"], str(value)):
        return f"does not match {rule['pattern']}"
    return ""


def _check_gymnasium(env: TextEnv) -> None:
    """Run Gymnasium's checker with its warnings as errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            check_env(env, skip_render_check=env.spec is None)
        except (Warning, gym.error.Error) as problem:
            raise AssertionError(f"Gymnasium's checker: {problem}") from problem


def _check_turn(index: int, turn: Turn, previous: Turn) -> None:
    step, where = turn.info["step"], f"call {index}"
    kind = type(turn.observation).__name__
    _require(kind == "str", f"{where}: the observation is a {kind}, not a str")
    _require(type(turn.reward) is float, f"{where}: the reward is {turn.reward!r}, not a float")
    _require(step["index"] == index, f"{where}: StepInfo index is {step['index']}")
    _require(step["terminal"] == turn.terminated, f"{where}: terminal and terminated disagree")
    _require(not (turn.terminated and turn.truncated), f"{where}: both terminated and truncated")
    hashed = step["anchor"] == text_hash(turn.observation)
    _require(hashed, f"{where}: the anchor is not the text_hash of the observation")
    sent = turn.action if isinstance(turn.action, str) else ""
    _require(step["action"] == sent, f"{where}: StepInfo has action {step['action']!r:.80}, not {sent!r:.80}")
    extends = turn.transcript.startswith(previous.transcript)
    _require(extends, f"{where}: the transcript does not extend the previous one")
    same = step["episode_id"] == previous.info["step"]["episode_id"]
    _require(same, f"{where}: episode_id changed within the episode")


def _check_spans(turn: Turn, transcript: str) -> None:
    step = turn.info["step"]
    for name, text in (("action", step["action"]), ("observation", turn.observation)):
        start, end = step[f"{name}_start"], step[f"{name}_end"]
        got, where = transcript[start:end], f"call {step['index']}: transcript[{start}:{end}]"
        _require(got == text and end - start == len(text), f"{where} is {got!r:.80}, the {name} {text!r:.80}")
    _require(step["action_end"] <= step["observation_start"], f"call {step['index']}: the spans overlap")


def _check_determinism(env: TextEnv, seed: int, turns: Sequence[Turn]) -> None:
    """The same seed and actions give the same turns, even if the caller changes the returned infos."""
    again = [_reset(env, seed)]
    for turn in turns[1:]:
        _ruin(again[-1])
        again.append(_step(env, turn.action))
    _require_same(
        again[-1:], turns[-1:], "the same seed and actions, after changing the infos returned before,"
    )
    replayed = [_reset(env, seed), *(_step(env, turn.action) for turn in turns[1:])]
    _require_same(replayed, turns, "the same seed and actions")


def _check_named_task(env: TextEnv, seed: int) -> None:
    """An episode begins again from its task and seed, which is all that a record holds of its beginning."""
    for given in (seed, None):
        drawn = _reset(env, given)
        if "task_id" not in drawn.info:
            return  # such an environment cannot be recorded
        for name, kind in (("task_type", str), ("won", bool)):
            got = drawn.info.get(name)
            _require(isinstance(got, kind), f"info[{name!r}] is {got!r:.80}, records need a {kind.__name__}")
        again = _reset(env, env.episode_seed, {env.task_option: drawn.info["task_id"]})
        _require_same(
            [again], [drawn], "the task of a reset, named with its seed (draw details from _coming_seed()),"
        )


def _check_snapshot(env: TextEnv, seed: int, turns: Sequence[Turn]) -> None:
    """Restored or unpickled in mid-episode, the environment gives the same remaining turns."""
    half, rest = turns[: len(turns) // 2 + 1], turns[len(turns) // 2 + 1 :]
    _reset(env, seed)
    for turn in half[1:]:
        _step(env, turn.action)
    taken = env.snapshot()
    snapshot = pickle.loads(pickle.dumps(taken))
    copy: TextEnv = pickle.loads(pickle.dumps(env))
    _require_same([_step(copy, turn.action) for turn in rest], rest, "a pickled copy")
    for turn in rest:
        _step(env, turn.action)
    _reset(env, seed + 1)
    env.restore(deepcopy(snapshot))
    _require_same([_step(env, turn.action) for turn in rest], rest, "a restored snapshot")
    for again in (
        "whose environment went on (copy what _save returns)",
        "restored again (copy what _load is given)",
    ):
        env.restore(taken)
        _require_same([_step(env, turn.action) for turn in rest], rest, f"a snapshot {again}")
    observation, info = env.reset(options={"snapshot": snapshot})
    resumed = half[-1]._replace(observation=observation, info=info, transcript=env.transcript)
    _require_same([resumed], half[-1:], 'reset(options={"snapshot": ...})')
    _require_same([_step(env, turn.action) for turn in rest], rest, "a snapshot given to reset")


def _check_hostile_actions(env: TextEnv, seed: int) -> None:
    for action in (*HOSTILE_TEXTS, *HOSTILE_OBJECTS):
        reset = _reset(env, seed)
        try:
            turn = _step(env, action)
        except Exception as problem:
            raise AssertionError(f"step({action!r:.60}) raised {problem!r}; actions never raise") from problem
        check_turns([reset, turn])
        invalid = isinstance(action, str) or not turn.info["step"]["valid"]
        _require(invalid, f"step({action!r:.60}): an action that is not a string must be an invalid step")


def _check_reset_needed(env: TextEnv, seed: int) -> None:
    if env.spec is not None:
        fresh = env.spec.make().unwrapped
        _require_reset_needed(lambda: fresh.step("look"), "step() before the first reset()")
        fresh.close()
    _reset(env, seed)
    env.restore({**env.snapshot(), "remaining": 1})
    turn = _step(env, "")
    _require(turn.terminated or turn.truncated, "the step limit does not end the episode")
    _require_reset_needed(lambda: env.step(""), "step() after the end of the episode")


def _require_reset_needed(call: Callable[[], Any], what: str) -> None:
    try:
        call()
    except ResetNeeded:
        return
    raise AssertionError(f"{what} must raise gymnasium.error.ResetNeeded")


def _play(env: TextEnv, seed: int, steps: int) -> list[Turn]:
    """Play admissible commands, or sampled texts where none are listed, and one invalid command."""
    rng = np.random.default_rng(seed)
    env.action_space.seed(seed)
    turns = [_reset(env, seed)]
    while len(turns) <= steps and not (turns[-1].terminated or turns[-1].truncated):
        offered = turns[-1].info.get("admissible_commands") or [env.action_space.sample()]
        action = "no such command" if len(turns) == 2 else offered[int(rng.integers(len(offered)))]
        turns.append(_step(env, action))
    return turns


def _reset(env: TextEnv, seed: int | None, options: dict[str, Any] | None = None) -> Turn:
    observation, info = env.reset(seed=seed, options=options)
    return Turn(None, observation, 0.0, False, False, info, env.transcript)


def _step(env: TextEnv, action: Any) -> Turn:
    return Turn(action, *env.step(action), env.transcript)


def _require_same(got: Sequence[Turn], expected: Sequence[Turn], what: str) -> None:
    for turn, expected_turn in zip(got, expected, strict=True):
        for name, left, right in zip(Turn._fields, turn, expected_turn, strict=True):
            _require(left == right, f"{what} gave another {name}: {left!r:.300}, before {right!r:.300}")


def _types(value: Any) -> Any:
    """Key names and types of nested dicts."""
    if isinstance(value, dict):
        return {key: _types(child) for key, child in value.items()}
    return type(value).__name__


def _containers(value: Any) -> Iterator[Any]:
    if isinstance(value, (dict, list)):
        yield value
        for _, child in _children(value):
            yield from _containers(child)


def _children(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, (list, tuple)):
        yield from enumerate(value)


def _nones(value: Any, where: str) -> Iterator[str]:
    if value is None:
        yield where
    for key, child in _children(value):
        yield from _nones(child, f"{where}[{key!r}]")


def _ruin(turn: Turn) -> None:
    for container in list(_containers(turn.info)):
        container.clear()


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
