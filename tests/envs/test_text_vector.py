"""The in-process vector environments of every registered text environment, beside Gymnasium's own loop."""

from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode

import stepopsd_envs  # noqa: F401  # registers the environments
from stepopsd_envs.search_qa.retrieval.base import Passage, RetrieverError
from stepopsd_envs.text_vector import TextVectorEnv
from tests.helpers.search_qa import Library, search

SIZE = 3
SETTINGS: dict[str, dict[str, Any]] = {
    "stepopsd/ALFWorld-v0": {"tier": "tiny", "step_limit": 4},
    "stepopsd/SearchQA-v0": {"tier": "tiny", "max_turns": 3},
}
ACTIONS = ("look", "<search>born in</search>", "<answer>nobody</answer>", "<search>was founded</search>")
every_env = pytest.mark.parametrize("env_id", sorted(SETTINGS))
every_mode = pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)


def make(env_id: str, mode: AutoresetMode, *, sync: bool = False, **kwargs: Any) -> Any:
    """As users make them; Gymnasium's loop takes the mode in `vector_kwargs`."""
    settings = {**SETTINGS[env_id], **kwargs}
    if sync:
        vector = {"autoreset_mode": mode}
        return gym.make_vec(env_id, SIZE, vectorization_mode="sync", vector_kwargs=vector, **settings)
    return gym.make_vec(env_id, SIZE, autoreset_mode=mode, **settings)


def play(envs: Any, mode: AutoresetMode, steps: int = 12) -> Iterator[tuple[Any, ...]]:
    """What the calls return; in mode DISABLED what has ended is reset by a mask."""
    yield envs.reset(seed=7)
    for number in range(steps):
        call = envs.step([ACTIONS[(number + slot) % len(ACTIONS)] for slot in range(SIZE)])
        yield call
        over = call[2] | call[3]
        if mode is AutoresetMode.DISABLED and over.any():
            yield envs.reset(options={"reset_mask": over})


def types(value: Any) -> Any:
    """Types and dtypes of everything within."""
    if isinstance(value, dict):
        return {key: types(child) for key, child in value.items()}
    if isinstance(value, tuple):
        return tuple(types(child) for child in value)
    return (type(value), value.dtype, value.shape) if isinstance(value, np.ndarray) else type(value)


@every_env
@every_mode
@pytest.mark.parametrize("steps", [None, 2, 3], ids="max_episode_steps={}".format)
def test_text_vector_equals_gymnasiums_loop(env_id: str, mode: AutoresetMode, steps: int | None) -> None:
    """To the type, with the limit of the environment and with a smaller one."""
    limit: dict[str, Any] = {} if steps is None else {"max_episode_steps": steps}
    one, other = make(env_id, mode, **limit), make(env_id, mode, sync=True, **limit)
    assert isinstance(one, TextVectorEnv) and one.metadata["autoreset_mode"] is mode
    calls = 0
    for call, expected in zip(play(one, mode), play(other, mode), strict=True):
        assert data_equivalence(call, expected, exact=True) and types(call) == types(expected)
        calls += 1
    assert calls > 12
    one.close()
    other.close()


@every_env
def test_text_vector_truncates_where_it_is_told_to(env_id: str) -> None:
    """At that step and not before, in the next episode as well; sooner than the environment would."""
    envs = make(env_id, AutoresetMode.SAME_STEP, max_episode_steps=2)
    envs.reset(seed=0)
    cut = [envs.step(["look"] * SIZE)[3].all() for _ in range(4)]
    assert cut == [False, True, False, True]
    assert envs.spec.kwargs["max_episode_steps"] == 2


@every_env
@pytest.mark.parametrize("steps", [0, -1, 2.0, "2", True], ids=repr)
def test_text_vector_refuses_a_limit_that_is_none(env_id: str, steps: Any) -> None:
    """The error says what is allowed."""
    with pytest.raises(ValueError, match="give None or a positive number of steps"):
        make(env_id, AutoresetMode.NEXT_STEP, max_episode_steps=steps)


class Counting(Library):
    """A library that notes what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[str]] = []

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """Search and note."""
        self.calls.append(list(queries))
        return super().search(queries, k)


def test_searches_of_a_step_are_one_call() -> None:
    """Those of environments that are reset instead, and actions that are no text, ask nothing."""
    library = Counting()
    envs = gym.make_vec("stepopsd/SearchQA-v0", SIZE, tier="tiny", max_turns=1, retriever=library)
    envs.reset(seed=0)
    _, _, _, truncated, infos = envs.step([search("Port"), search("Sandor"), search("Port")])
    assert library.calls == [["Port", "Sandor"]] and not truncated.any()
    assert infos["step"]["kind"].tolist() == ["search"] * SIZE
    assert envs.step([search("Port")] * SIZE)[3].all()  # the closing turn takes no search
    envs.step([search("Port")] * SIZE)  # all are reset
    envs.step([3, None, search("Port")])
    assert library.calls == [["Port", "Sandor"], ["Port"]]


def test_a_step_that_an_error_broke_off_is_not_tried_again() -> None:
    """Some environments have played their action and would play it twice; a reset of all begins anew."""
    library = Library()
    envs = gym.make_vec("stepopsd/SearchQA-v0", SIZE, tier="tiny", retriever=library)
    envs.reset(seed=0)
    library.broken = True
    actions = ["<think>nothing to search</think>", search("Port"), search("Sandor")]
    with pytest.raises(RetrieverError, match="closed"):
        envs.step(actions)
    library.broken = False
    with pytest.raises(ResetNeeded, match="broke off the step before"):
        envs.step(actions)
    envs.reset(seed=0)
    assert envs.step(actions)[-1]["step"]["index"].tolist() == [1] * SIZE
