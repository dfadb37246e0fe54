"""ALFWorld for the learner: household games, official or generated."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stepopsd_agent.config import EnvConfig, at_least
from stepopsd_agent.models import numbered
from stepopsd_agent.tasks.agents import ExpertAgent, OracleAgent, RandomAgent
from stepopsd_agent.tasks.agents.expert import AlfworldExpert
from stepopsd_agent.tasks.alfworld_lifted import lifted
from stepopsd_agent.tasks.base import EvalSet, TaskSpec, World
from stepopsd_agent.tasks.even_choice import evenly
from stepopsd_envs.alfworld.game import TASK_TYPES
from stepopsd_envs.alfworld.pools import GENERATED
from stepopsd_wrappers import Episode

GENERATED_GAMES = 100
"""Generated games in an evaluation that does not say how many."""


@dataclass(frozen=True)
class HeldOutGames:
    """Games for evaluation.

    Attributes:
        games: "generated" (the test houses), an official split, a folder or a file; or a list of these, each
            of which gets its own table.
        num_games: games per evaluation. Of generated games the first of the canonical list, 100 when absent,
            in which the types take turns; of others as many of each type, always the same, or all when
            absent.
        task_types: keep only these; when absent those of env.task_types.
    """

    games: list[str] | str = GENERATED
    num_games: int | None = at_least(1, None)
    task_types: list[str] | None = None


def _prompted(env: EnvConfig) -> dict[str, Any]:
    """Only the window layout shows the admissible commands; elsewhere they would just swell the records."""
    return {"admissible": env.layout == "window"}


def _evaluation(env: EnvConfig, held_out: HeldOutGames) -> list[EvalSet]:
    """Test houses, or the games that are named; each name is a set by itself."""
    names = [held_out.games] if isinstance(held_out.games, str) else held_out.games
    if not names or len(set(names)) < len(names):
        raise ValueError(f"eval.games is {names}; give different splits or folders, one at least")
    if "" in names:  # a variable of a shell that is not set, and a set without a name is none of evaluation
        raise ValueError(
            "eval.games is empty; give generated, an official split, a folder or a file, or . for the folder "
            "you are in"
        )
    types = held_out.task_types or env.arguments.get("task_types")
    played = env.changed(split="test", num_games=None, task_types=types)
    return [_set(name, played.changed(games=name), held_out.num_games) for name in names]


def _set(name: str, env: EnvConfig, count: int | None) -> EvalSet:
    """Generated games are endless and begin evenly; of others all are played unless a number is given."""
    if name == GENERATED:
        first = count or GENERATED_GAMES
        return EvalSet(name, env.changed(num_games=first), first)
    return EvalSet(name, env, count, select=_even_games)


def _even_games(ids: Sequence[str], count: int) -> list[str]:
    return evenly(ids, count, task_type_in)


def task_type_in(task_id: str) -> str:
    """The task type that an official id ``<split>/<type>-<things>/<trial>`` names; empty for other ids."""
    words = (part.partition("-")[0] for part in task_id.split("/"))
    return next((word for word in words if word in TASK_TYPES), "")


_COMMAND = re.compile(
    r"(?P<verb>go to|open|close|take|move|put|heat|cool|clean|slice|use) (?P<thing>.+?)"
    r"(?: (?:from|to|in/on|in|on|with) (?P<other>.+))?"
)
"""Commands that change the world, in the wordings of all releases."""
_DOORS = {"open": ("open", "closed"), "close": ("closed", "open")}
"""After the command, and before it."""
_TREATED = {
    "heat": ("temperature", "hot"),
    "cool": ("temperature", "cool"),
    "clean": ("surface", "clean"),
    "slice": ("shape", "sliced"),
    "use": ("switch", "on"),
}


def worlds(episode: Episode) -> list[World]:
    """Where the agent stands, what it holds and has treated, and which things and doors are not as at first.

    Read from the commands that the environment accepted; how something was at first is told by the first
    command that changed it. Worlds of a game are equal where the simulator's states are, but for two kinds:
    receptacles that stand at one place are two places here, and the simulator remembers of a thing in the
    hand that it was put down before. In random play that is one step in a hundred.
    """
    place, held = "", ""
    treated: dict[str, str] = {}
    lies: dict[str, str] = {}
    doors: dict[str, str] = {}
    first_lies: dict[str, str] = {}
    first_doors: dict[str, str] = {}
    states = []
    # Renumbered per seed, the same names mean other things.
    named = {f"seed: {episode.seed}"} if episode.env_spec["kwargs"].get("domain_randomization") else set()
    for step in episode.steps:
        command = _COMMAND.fullmatch(step.action.strip())  # as the environment reads it
        if command and not step.error and step.info["step"]["valid"]:
            verb, thing, other = command["verb"], command["thing"], command["other"] or ""
            if verb == "go to":
                place = thing
            elif verb in _DOORS:
                doors[thing], before = _DOORS[verb]
                first_doors.setdefault(thing, before)
            elif verb == "take":
                held = thing
                first_lies.setdefault(thing, other)
                lies.pop(thing, None)
            elif verb in ("move", "put"):
                held, lies[thing] = "", other
            else:
                aspect, state = _TREATED[verb]
                treated[f"{thing}'s {aspect}"] = state
        facts = {f"{aspect}: {state}" for aspect, state in treated.items()}
        facts |= {f"at: {place}"} if place else set()
        facts |= {f"holding: {held}"} if held else set()
        facts |= {f"{item}: in {where}" for item, where in lies.items() if where != first_lies[item]}
        facts |= {f"{name}'s door: {door}" for name, door in doors.items() if door != first_doors[name]}
        states.append(frozenset(facts | named))
    return states


def instance(episode: Episode) -> str:
    """The game, and the seed where it renumbers the things."""
    renumbered = episode.env_spec["kwargs"].get("domain_randomization")
    return f"{episode.task_id}, numbered by {episode.seed}" if renumbered else episode.task_id


ALFWORLD = TaskSpec(
    held_out=HeldOutGames,
    evaluation=_evaluation,
    prompted=_prompted,
    fixed=frozenset({"admissible", "render_mode"}),
    expert=lambda env: AlfworldExpert,
    agents={
        "random": lambda env: RandomAgent(),
        "expert": lambda env: ExpertAgent(),
        "oracle": OracleAgent,
    },
    plain="plain",
    names=numbered,
    unit="game",
    limit="env.step_limit",
    worlds=worlds,
    lifted=lambda episode: lifted(episode, worlds(episode)),
    instance=instance,
    system=(
        "You play a household text game. Answer each message with one command of the game and nothing else."
    ),
)
