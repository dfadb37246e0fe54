"""ALFWorld for the learner: household games, official or generated."""

import re
from dataclasses import dataclass
from typing import Any

from stepopsd_agent.config import EnvConfig, at_least
from stepopsd_agent.models import numbered
from stepopsd_agent.tasks.agents import ExpertAgent, OracleAgent, RandomAgent
from stepopsd_agent.tasks.agents.expert import AlfworldExpert
from stepopsd_agent.tasks.base import EvalSet, TaskSpec, World
from stepopsd_wrappers import Episode


@dataclass(frozen=True)
class HeldOutGames:
    """Games for evaluation.

    Attributes:
        games: as env.games; "generated" uses the test houses.
        num_games: games per evaluation, the first of the canonical list.
        task_types: keep only these; when absent those of env.task_types.
    """

    games: str = "generated"
    num_games: int = at_least(1, 100)
    task_types: list[str] | None = None


def _prompted(env: EnvConfig) -> dict[str, Any]:
    """Only the window layout shows the admissible commands; elsewhere they would just swell the records."""
    return {"admissible": env.layout == "window"}


def _evaluation(env: EnvConfig, held_out: HeldOutGames) -> list[EvalSet]:
    """Test houses, or the games that are named."""
    played = env.changed(
        games=held_out.games,
        split="test",
        num_games=held_out.num_games,
        task_types=held_out.task_types or env.arguments.get("task_types"),
    )
    return [EvalSet(held_out.games, played, held_out.num_games)]


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
    found = []
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
        found.append(frozenset(facts | named))
    return found


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
    instance=instance,
    system=(
        "You play a household text game. Answer each message with one command of the game and nothing else."
    ),
)
