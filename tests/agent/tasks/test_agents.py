"""The agents that come with the package, and one of the user's own."""

from typing import Any

import pytest

from stepopsd_agent.rollout import play_agent, success_table
from stepopsd_agent.tasks import make_plain_env, task_ids
from stepopsd_agent.tasks.agents import Agent, ExpertAgent, RandomAgent
from stepopsd_wrappers import Episode
from tests.helpers.runs import run_config


def play(agent: Agent, games: int = 6, limit: int = 40, seed: int = 0) -> list[Episode]:
    """The first games of the tiny tier, one of each task type."""
    env = make_plain_env(run_config(env={"num_games": games, "step_limit": limit}).env)
    return play_agent(agent, env, task_ids(env), seed)


def commands(episode: Episode) -> list[str]:
    """What was done."""
    return [step.action for step in episode.steps[1:]]


def test_expert_agent_wins_every_task_type() -> None:
    """It reads nothing but the observations."""
    episodes = play(ExpertAgent())
    assert len({episode.task_type for episode in episodes}) == 6
    assert success_table(episodes)["success"] == 1.0


def test_expert_agent_can_err_and_mend() -> None:
    """Slower, and still there in the end."""
    clean, erring = play(ExpertAgent()), play(ExpertAgent(mistake_rate=0.3), limit=100)
    assert success_table(erring)["success"] == 1.0
    assert sum(e.num_steps for e in erring) > sum(e.num_steps for e in clean)


def test_random_agent_gives_admissible_commands_only() -> None:
    """Every one of them accepted, and few games won by them."""
    episodes = play(RandomAgent())
    assert all(step.info["step"]["valid"] for episode in episodes for step in episode.steps)
    assert success_table(episodes)["success"] < 0.5


@pytest.mark.parametrize("make", [RandomAgent, lambda: ExpertAgent(mistake_rate=0.3)])
def test_agents_depend_on_the_seed_alone(make: Any) -> None:
    """The same object used again, a new one, another seed."""
    agent = make()
    first = [commands(episode) for episode in play(agent)]
    assert [commands(episode) for episode in play(agent)] == first
    assert [commands(episode) for episode in play(make())] == first
    assert [commands(episode) for episode in play(make(), seed=1)] != first


def test_agent_of_one_s_own_needs_two_methods() -> None:
    """No base class, no registration."""

    class Looker:
        def reset(self, seed: int, observation: str, info: dict[str, Any]) -> None:
            self.seen = [observation]

        def act(self, observation: str, info: dict[str, Any]) -> str:
            self.seen.append(observation)
            return "look"

    agent = Looker()
    (episode,) = play(agent, games=1, limit=3)
    assert commands(episode) == ["look"] * 3
    assert agent.seen[0] == agent.seen[1] == episode.steps[0].observation
