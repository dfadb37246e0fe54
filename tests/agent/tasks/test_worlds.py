"""What the texts of an episode tell about the world."""

from collections import defaultdict
from dataclasses import replace

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
    assert f"holding: {thing}" in worlds[taken]


def test_an_environment_without_more_is_known_by_its_observations() -> None:
    """The default of a task spec."""
    env = household("tiny", 3)
    env.reset(seed=0)
    episode = finished(env)
    assert observed_worlds(episode) == [{step.observation} for step in episode.steps]


def test_worlds_of_an_unknown_environment_ask_for_its_module() -> None:
    """A record names its environment, and no module."""
    env = household("tiny", 1)
    env.reset(seed=0)
    episode = finished(env)
    foreign = replace(episode, env_spec={**episode.env_spec, "id": "own/GuessNumber-v0"})
    with pytest.raises(ValueError, match=r"'own/GuessNumber-v0', .* import the module that registers it"):
        worlds_of(foreign)


def test_renumbered_things_of_two_seeds_are_no_places_of_one_graph() -> None:
    """The same command means another thing; within a seed worlds are shared as always."""
    made = gym.make("stepopsd/ALFWorld-v0", tier="tiny", domain_randomization=True, step_limit=3)
    env, worlds = make_text_env(made, format="plain"), list[World]()
    for seed in (1, 2, 1):
        env.reset(seed=seed, options={"game": "generated/tiny/train/0"})
        worlds.append(worlds_of(finished(env))[0])
    assert worlds[0] == worlds[2] != worlds[1]


def test_a_command_with_blanks_around_moves_as_the_environment_says() -> None:
    """It is accepted, so the place has changed."""
    env = household("tiny", 3)
    _, info = env.reset(seed=0)
    goes = next(name for name in info["admissible_commands"] if name.startswith("go to"))
    game = gym.make("stepopsd/ALFWorld-v0", tier="tiny")
    game.reset(seed=0)
    assert game.step(f" {goes} ")[4]["step"]["valid"]
    env.step(goes)
    episode = finished(env)
    moved = replace(episode.steps[1], action=f" {goes} ")
    worlds = worlds_of(replace(episode, steps=(episode.steps[0], moved)))
    assert f"at: {goes.removeprefix('go to ')}" in worlds[1]


def test_the_world_of_a_question_is_what_the_retriever_was_asked() -> None:
    """Blanks inside a query change neither the search nor the world."""
    env = make_text_env(gym.make("stepopsd/SearchQA-v0", tier="small", max_turns=3), format="search")
    worlds = []
    for query in ("old mill", "old  mill", "new mill"):
        env.reset(seed=0)
        assert env.step(f"<search>{query}</search>")[4]["step"]["valid"]
        for _ in range(3):
            if env.step("<answer>1874</answer>")[2]:
                break
        episode = recorder(env).last_episode
        assert episode is not None
        worlds.append(worlds_of(episode)[1])
    assert worlds[0] == worlds[1] != worlds[2]
