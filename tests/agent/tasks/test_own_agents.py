"""Agents by "module:Class": made as their constructor asks, or refused in one sentence."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from stepopsd_agent.tasks.agents import Agent, AgentError, load_agent
from tests.helpers.text_env import make_env

SOURCE = """
class Base:
    def reset(self, seed, observation, info): pass
    def act(self, observation, info): return "go right"

class WithEnvironment(Base):
    def __init__(self, env, speed=1): self.env = env

class TwoArguments(Base):
    def __init__(self, env, speed): pass

class NoAct:
    def reset(self, seed, observation, info): pass

class ShortAct(Base):
    def act(self, observation): return "go right"

class Leaving(Base):
    def __init__(self): raise SystemExit("no key")

class Breaking(Base):
    def __init__(self): raise OSError("no such model")

instance = Base()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder on the path with agents in it."""
    (tmp_path / "agents_of_a_test.py").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "broken_agents_of_a_test.py").write_text("import no_such_package", encoding="utf-8")
    (tmp_path / "ending_agents_of_a_test.py").write_text("import sys; sys.exit(0)", encoding="utf-8")
    (tmp_path / "half_agents_of_a_test.py").write_text("1 / 0", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_own_agents_are_made_without_arguments_or_with_the_environment() -> None:
    """As the constructor asks; what has a default is left alone."""
    env: gym.Env[str, str] = make_env()
    assert isinstance(load_agent("agents_of_a_test:Base")(env), Agent)
    made: Any = load_agent("agents_of_a_test:WithEnvironment")(env)
    assert made.env is env


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("agents_of_a_test:", "is named as module:Class"),
        ("agent_of_a_test:Base", "no module 'agent_of_a_test': put the folder it is in on PYTHONPATH"),
        ("broken_agents_of_a_test:Base", "no module 'no_such_package': install it"),
        ("half_agents_of_a_test:Base", "importing it raised ZeroDivisionError: division by zero"),
        ("agents_of_a_test:Bse", "has no 'Bse'; did you mean 'Base'?"),
        ("agents_of_a_test:instance", "give the name of a class"),
        ("agents_of_a_test:TwoArguments", r"constructor needs env, speed; .* give the others defaults"),
        ("agents_of_a_test:NoAct", r"lacks the method act\(observation, info\)"),
        ("agents_of_a_test:ShortAct", r"cannot be called as act\(observation, info\)"),
        ("agents_of_a_test:Breaking", "making it raised OSError: no such model"),
        ("agents_of_a_test:Leaving", "making it raised SystemExit: no key"),
        ("ending_agents_of_a_test:Base", "importing it raised SystemExit: 0"),
        ("collections:OrderedDict", "making it raised ValueError: no signature"),
    ],
)
def test_own_agents_are_refused_in_one_sentence(entry: str, message: str) -> None:
    """Which names the agent as it was given."""
    with pytest.raises(AgentError, match=message) as refused:
        load_agent(entry)(make_env())
    assert entry in str(refused.value)


def test_own_agents_in_this_folder_are_found_with_the_line_that_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python does not search the folder a command runs in; most agents lie there."""
    here = tmp_path / "here"
    here.mkdir()
    (here / "agent_next_to_a_test.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.chdir(here)
    with pytest.raises(AgentError, match=r"it is in this folder, .* begin the command with PYTHONPATH=\.$"):
        load_agent("agent_next_to_a_test:Base")
    monkeypatch.syspath_prepend(".")
    load_agent("agent_next_to_a_test:Base")
