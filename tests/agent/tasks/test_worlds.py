"""What the texts of an episode tell about the world."""

from collections import defaultdict

import gymnasium as gym
import numpy as np
import pytest

from stepopsd_agent.tasks import World, worlds_of
from stepopsd_agent.tasks.base import observed_worlds
from stepopsd_wrappers import Episode, make_text_env, recorder


def household(tier: str, step_limit: int) -> gym.Env[str, str]:
    """A game that takes commands as they are and lists them."""
    game = gym.make("stepopsd/ALFWorld-v0", tier=tier, admissible=True, step_limit=step_limit)
    return make_text_env(game, format="plain")


def finished(env: gym.Env[str, str]) -> Episode:
    """The record of the running episode, once it has been looked to its end."""
    over = False
    while not over:
        over = env.step("look")[3]
    episode = recorder(env).last_episode
    assert episode is not None
    return episode


def played(env: gym.Env[str, str], rng: np.random.Generator, seed: int) -> Episode:
    """An episode of random commands, some of them nonsense."""
    _, info = env.reset(seed=seed)
    over = False
    while not over:
        verbs = defaultdict(list)
        for command in info["admissible_commands"]:
            verbs[command.split()[0]].append(command)
        choices = verbs[str(rng.choice(sorted(verbs)))]
        command = "open cabinet 99" if rng.random() < 0.1 else str(rng.choice(choices))
        _, _, won, truncated, info = env.step(command)
        over = won or truncated
    episode = recorder(env).last_episode
    assert episode is not None
    return episode


@pytest.mark.parametrize("tier", ["tiny", "small", "full"])
def test_worlds_of_a_household_are_the_simulators_states(tier: str) -> None:
    """Nearly: one place may hold two receptacles, and the simulator remembers what was put down before."""
    env = make_text_env(
        gym.make("stepopsd/ALFWorld-v0", tier=tier, admissible=True, step_limit=60), format="plain"
    )
    rng, total, different = np.random.default_rng(0), 0, 0
    for seed in range(8):
        state_of: dict[World, str] = {}
        world_of: dict[str, World] = {}
        for _ in range(4):
            episode = played(env, rng, seed)
            for world, step in zip(worlds_of(episode), episode.steps, strict=True):
                state = step.info["step"]["state"]
                different += state_of.setdefault(world, state) != state
                different += world_of.setdefault(state, world) != world
                total += 1
    assert total > 1_000 and len(world_of) > 20 and different < 0.03 * total


def test_what_is_undone_is_as_at_first() -> None:
    """Taking something and putting it back."""
    env = make_text_env(
        gym.make("stepopsd/ALFWorld-v0", tier="tiny", admissible=True, step_limit=30), format="plain"
    )
    _, info = env.reset(seed=0)
    goes = iter([name for name in info["admissible_commands"] if name.startswith("go to")])
    takes: list[str] = []
    while not takes:
        opens = [name for name in info["admissible_commands"] if name.startswith("open")]
        info = env.step(opens[0] if opens else next(goes))[4]
        takes = [name for name in info["admissible_commands"] if name.startswith("take")]
    thing, place = takes[0].removeprefix("take ").split(" from ")
    env.step(takes[0])
    env.step(f"move {thing} to {place}")
    episode = finished(env)
    worlds = worlds_of(episode)
    taken = [step.action for step in episode.steps].index(takes[0])
    assert worlds[taken + 1] == worlds[taken - 1] != worlds[taken]
    assert f"holding {thing}" in worlds[taken]


def test_an_environment_without_more_is_known_by_its_observations() -> None:
    """The default of a task spec."""
    env = household("tiny", 3)
    env.reset(seed=0)
    episode = finished(env)
    assert observed_worlds(episode) == [{step.observation} for step in episode.steps]
