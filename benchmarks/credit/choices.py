"""Choices in recorded episodes: the admissible commands of a state, and the Q of each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stepopsd_agent.accuracy import Array, optimal_q
from stepopsd_agent.config import EnvConfig
from stepopsd_agent.tasks import make_plain_env
from stepopsd_envs.text_env import TextEnv
from stepopsd_wrappers import Episode


@dataclass(frozen=True)
class Place:
    """The state before a step of a recorded episode.

    Attributes:
        episode: the record.
        index: of the step that was taken there, from 1.
    """

    episode: Episode
    index: int


@dataclass(frozen=True)
class Choice:
    """The admissible commands of a state.

    Attributes:
        place: the state.
        commands: all admissible ones.
        q: [commands] discounted return of each, with optimal play afterwards.
        changed: [commands] 1 where the command changed the simulator's state.
        in_time: whether the goal can be reached within the remaining steps.
    """

    place: Place
    commands: tuple[str, ...]
    q: Array
    changed: Array
    in_time: bool


def chosen_places(episodes: Sequence[Episode], count: int, seed: int) -> list[Place]:
    """At most `count` distinct states of groups with won and lost episodes.

    In a random order, each group in turn gives a state of a lost and one of a won episode, round after round.
    """
    rng, kinds = np.random.default_rng(seed), dict[int, dict[bool, list[Place]]]()
    for episode in episodes:
        places = [Place(episode, index) for index in range(1, len(episode.steps))]
        kinds.setdefault(episode.group, {}).setdefault(episode.success, []).extend(places)
    mixed = [kind for kind in kinds.values() if len(kind) == 2]
    shuffled = [
        [[kind[won][n] for n in rng.permutation(len(kind[won]))] for won in (False, True)] for kind in mixed
    ]
    order = rng.permutation(len(mixed))
    found, most = list[Place](), max((len(kind) for group in shuffled for kind in group), default=0)
    for turn in range(most):
        for number in order:
            found += [kind[turn] for kind in shuffled[number] if turn < len(kind)]
        if len(found) >= count:
            break
    return found[:count]


def oracle_env(config: EnvConfig) -> TextEnv:
    """The environment without wrappers; it has to report distances and admissible commands.

    Raises:
        ValueError: it does not.
    """
    env = make_plain_env(config).unwrapped
    if not isinstance(env, TextEnv) or not config.arguments.get("oracle"):
        raise ValueError(
            f"{config.id} reports no distance to the goal for every command; use a household set"
        )
    return env


def choice(env: TextEnv, place: Place, gamma: float) -> Choice:
    """Replay the commands before a step, then try every admissible one and read the distance to the goal.

    Raises:
        RuntimeError: the commands led to another state than recorded.
    """
    episode, index = place.episode, place.index
    _, info = env.reset(seed=episode.seed, options={env.task_option: episode.task_id})
    for step in episode.steps[1:index]:
        *_, info = env.step(step.action)
    state = info["step"]["state"]
    if state != episode.steps[index - 1].info["step"]["state"]:
        raise RuntimeError(
            f"repeating {index - 1} commands of {episode.task_id!r} led to another state than recorded: the "
            "data or the engine have changed"
        )
    here, commands = env.snapshot(), tuple(info["admissible_commands"])
    distances, changed = list[int](), list[bool]()
    for command in commands:
        env.restore(here)
        *_, after = env.step(command)
        distances.append(after["optimal_distance"])
        changed.append(after["step"]["state"] != state)
    left = env.step_limit - index
    in_time = any(0 <= distance <= left for distance in distances)
    return Choice(place, commands, optimal_q(distances, gamma), np.array(changed, dtype=float), in_time)
