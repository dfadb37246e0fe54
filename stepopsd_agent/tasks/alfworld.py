"""ALFWorld for the learner: household games, official or generated."""

from dataclasses import dataclass
from typing import Any

from stepopsd_agent.config import EnvConfig, at_least
from stepopsd_agent.models import numbered
from stepopsd_agent.tasks.agents import ExpertAgent, OracleAgent, RandomAgent
from stepopsd_agent.tasks.agents.expert import AlfworldExpert
from stepopsd_agent.tasks.base import EvalSet, TaskSpec


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
    system=(
        "You play a household text game. Answer each message with one command of the game and nothing else."
    ),
)
