"""Settings of an environment, derived from its constructor: names, types, defaults and help."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import gymnasium as gym
import pytest

from stepopsd_agent.config import EnvConfig, EvalConfig
from stepopsd_agent.tasks import (
    TaskSpec,
    constructor_settings,
    env_arguments,
    env_section,
    eval_section,
    register,
)
from stepopsd_agent.tasks.settings import flag_type
from tests.helpers.countdown import Countdown

ENV_ID = "somebody/Countdown-v0"
SPEC = TaskSpec()


class Named(Countdown):
    """Counts down for somebody."""

    def __init__(
        self,
        step_limit: int = 20,
        names: Sequence[str] = ("Ann",),
        folder: str | os.PathLike[str] | None = None,
        choose: Callable[[str], str] | None = None,
        render_mode: str | None = None,
    ) -> None:
        """Begin.

        Args:
            step_limit: steps until
                an episode is truncated.
            names: who counts.
            folder: where numbers come from.
            choose: no text can say it.
            render_mode: as in Gymnasium.
        """
        super().__init__(step_limit=step_limit, render_mode=render_mode)


class Demanding(Countdown):
    """Has an argument that must be given."""

    def __init__(self, number: int, render_mode: str | None = None) -> None:
        super().__init__(render_mode=render_mode)


class Clashing(Countdown):
    """Has an argument with the name of a setting of every environment."""

    def __init__(self, history: int = 2, render_mode: str | None = None) -> None:
        super().__init__(render_mode=render_mode)


class Unresolved(Countdown):
    """Has an annotation that is not there at run time."""

    def __init__(self, rng: "OnlyForTypeCheckers" = None, render_mode: str | None = None) -> None:  # type: ignore[name-defined]  # noqa: F821
        super().__init__(render_mode=render_mode)


class Bare(Countdown):
    """Has an argument without annotation."""

    def __init__(self, number=9, render_mode=None):  # type: ignore[no-untyped-def]
        super().__init__(render_mode=render_mode)


@dataclass(frozen=True)
class Incomplete:
    """A field of it has no default."""

    count: int


@dataclass(frozen=True)
class Taken:
    """A field of it is a setting of every evaluation."""

    temperature: float = 1.0


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment of somebody else's, known to Gymnasium and to the learner."""
    entries = {ENV_ID: f"{__name__}:SPEC"}
    monkeypatch.setattr("stepopsd_agent.tasks.registry._ENTRIES", entries)
    monkeypatch.setattr(gym.envs.registration, "registry", dict(gym.envs.registration.registry))
    gym.register(ENV_ID, entry_point=f"{__name__}:Named", kwargs={"step_limit": 9})


@pytest.mark.usefixtures("registered")
def test_settings_are_the_arguments_that_a_flag_can_have() -> None:
    """With the registration's defaults before the constructor's, and their help on one line."""
    found = constructor_settings(ENV_ID)
    assert list(found) == ["step_limit", "names", "folder"]
    assert [one.default for one in found.values()] == [9, ("Ann",), None]
    assert [one.type for one in found.values()] == [int, list[str], str | None]
    assert found["step_limit"].help == "steps until an episode is truncated."


@pytest.mark.usefixtures("registered")
def test_env_arguments_are_complete_and_refuse_others() -> None:
    """Those given and the defaults; one that the constructor lacks is named with those it has."""
    config = EnvConfig(ENV_ID, arguments={"names": ["Bob"]})
    assert env_arguments(config) == {"step_limit": 9, "names": ["Bob"], "folder": None}
    with pytest.raises(ValueError, match=r"env\.tier is 'tiny', a setting that .* lacks; it has env\.step_l"):
        env_arguments(config.changed(tier="tiny"))


@pytest.mark.usefixtures("registered")
def test_sections_have_the_shared_settings_and_the_environment_s_own() -> None:
    """In this order, and the mapping that holds the own ones is no setting itself."""
    env, held_out = (
        [spec.name for spec in fields(section(ENV_ID))] for section in (env_section, eval_section)
    )
    shared = [spec.name for spec in fields(EnvConfig) if spec.name != "arguments"]
    assert env == [*shared, "step_limit", "names", "folder"]
    assert held_out == [*(s.name for s in fields(EvalConfig) if s.name != "arguments"), "episodes"]


def test_settings_of_what_gymnasium_does_not_know_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The learner's entry alone makes no environment."""
    monkeypatch.setattr("stepopsd_agent.tasks.registry._ENTRIES", {ENV_ID: f"{__name__}:SPEC"})
    with pytest.raises(ValueError, match=f"'{ENV_ID}', which Gymnasium does not know"):
        constructor_settings(ENV_ID)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("Clashing", "argument 'history' has the name of a setting of every environment; rename it"),
        ("Unresolved", "name 'OnlyForTypeCheckers' is not defined"),
        ("Missing", "cannot be read: module .* has no attribute 'Missing'"),
    ],
)
def test_settings_of_a_constructor_that_cannot_become_flags_are_refused(entry: str, message: str) -> None:
    """In words, with the id."""
    gym.register("somebody/Other-v0", entry_point=f"{__name__}:{entry}")
    register("somebody/Other-v0", f"{__name__}:SPEC")
    with pytest.raises(ValueError, match=f"somebody/Other-v0: .*{message}"):
        constructor_settings("somebody/Other-v0")


@pytest.mark.usefixtures("registered")
def test_settings_take_the_type_of_the_default_where_there_is_no_annotation() -> None:
    """Otherwise the argument would be dropped without a word."""
    gym.register("somebody/Bare-v0", entry_point=f"{__name__}:Bare")
    register("somebody/Bare-v0", f"{__name__}:SPEC")
    setting = constructor_settings("somebody/Bare-v0")["number"]
    assert (setting.type, setting.default) == (int, 9)


@pytest.mark.parametrize(
    ("held_out", "message"),
    [(int, "must be a dataclass"), (Incomplete, "count has no default"), (Taken, "temperature has the name")],
)
def test_held_out_that_cannot_become_flags_is_refused(held_out: type, message: str) -> None:
    """When the task spec is made."""
    with pytest.raises(ValueError, match=message):
        TaskSpec(held_out=held_out)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("measures", "score", "measures is 'score'; it must be a tuple of keys"),
        ("measures", (1,), "measures is (1,); it must be a tuple of keys"),
        ("evaluation", None, "evaluation is None; it must be a function"),
        ("worlds", "texts", "worlds is 'texts'; it must be a function"),
    ],
)
def test_a_task_spec_refuses_a_field_of_another_kind(name: str, value: Any, message: str) -> None:
    """When it is made, not in the middle of an evaluation."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        TaskSpec(**{name: value})


@pytest.mark.usefixtures("registered")
def test_settings_need_a_default() -> None:
    """Every flag may be left out, so the argument that has none is named."""
    gym.envs.registration.registry.pop(ENV_ID)
    gym.register(ENV_ID, entry_point=f"{__name__}:Demanding")
    with pytest.raises(ValueError, match="argument 'number' has no default"):
        constructor_settings(ENV_ID)


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (int, int),
        (Literal["a", "b"], Literal["a", "b"]),
        (str | None, str | None),
        (os.PathLike[str], str),
        (str | os.PathLike[str] | None, str | None),
        (Sequence[str] | None, list[str] | None),
        (int | Callable[[], int], int),
        (Callable[[], int] | None, None),
        (dict[str, int], None),
    ],
)
def test_flag_type_is_the_part_of_an_annotation_that_text_can_say(annotation: Any, kind: Any) -> None:
    """Text, numbers, choices and lists of these; None where nothing is left."""
    assert flag_type(annotation) == kind
