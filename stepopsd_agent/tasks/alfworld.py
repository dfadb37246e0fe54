"""ALFWorld for the learner: household games, official or generated."""

from dataclasses import replace
from typing import Any

from stepopsd_agent.config.environment import EnvConfig, EvalConfig
from stepopsd_agent.models.tiny_tokenizer import numbered
from stepopsd_agent.tasks.agents import ExpertAgent, OracleAgent, RandomAgent
from stepopsd_agent.tasks.agents.expert import AlfworldExpert
from stepopsd_agent.tasks.base import Environment, EvalSet

# In the order in which records list them.
_ARGUMENTS = (
    "games",
    "data_root",
    "engine",
    "tier",
    "split",
    "task_types",
    "num_games",
    "oracle",
    "reward",
    "domain_randomization",
    "step_limit",
)


def _arguments(config: EnvConfig) -> dict[str, Any]:
    return {name: vars(config)[name] for name in _ARGUMENTS}


def _prompted(config: EnvConfig) -> dict[str, Any]:
    """Only the window layout shows the admissible commands; elsewhere they would but swell the records."""
    return {"admissible": config.layout == "window"}


def _evaluation(env: EnvConfig, held_out: EvalConfig) -> list[EvalSet]:
    """Test houses, or the games that are named."""
    played = replace(
        env,
        games=held_out.games,
        split="test",
        num_games=held_out.num_games,
        task_types=held_out.task_types or env.task_types,
    )
    return [EvalSet(held_out.games, played, held_out.num_games)]


ALFWORLD = Environment(
    name="stepopsd/ALFWorld",
    settings=frozenset(_ARGUMENTS),
    eval_settings=frozenset({"games", "num_games"}),
    arguments=_arguments,
    prompted=_prompted,
    evaluation=_evaluation,
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
