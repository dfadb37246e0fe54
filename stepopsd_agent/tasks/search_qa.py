"""Search-QA for the learner: questions that are answered by searching."""

from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import Any

import gymnasium as gym
import numpy as np

from stepopsd_agent.config import EnvConfig, at_least
from stepopsd_agent.models import capitalised
from stepopsd_agent.tasks.agents import ExpertAgent, OracleAgent
from stepopsd_agent.tasks.agents.random_search import RandomSearcher
from stepopsd_agent.tasks.base import EvalSet, TaskSpec, World
from stepopsd_envs.search_qa import protocol
from stepopsd_envs.search_qa.env import SearchQAEnv
from stepopsd_envs.search_qa.expert import SearchExpert
from stepopsd_wrappers import Episode


@dataclass(frozen=True)
class HeldOutQuestions:
    """Questions for evaluation.

    Attributes:
        questions: "synthetic" (on the test encyclopedia), a file, or the name of a data set; or a list of
            these, each of which gets its own table.
        num_questions: the first n questions of each set; all when absent.
        task_types: keep only these; when absent those of env.task_types.
    """

    questions: list[str] | str = "synthetic"
    num_questions: int | None = at_least(1, 100)
    task_types: list[str] | None = None


class SearchQAExpert:
    """``SearchExpert`` in the role of an ``Expert``: it knows the question's hops, and reads the rest."""

    def __init__(self, env: gym.Env[str, str], rng: np.random.Generator, mistake_rate: float = 0.0) -> None:
        if not isinstance(env.unwrapped, SearchQAEnv):
            raise ValueError(
                f"this expert answers the questions of SearchQAEnv, got {env}; use another agent"
            )
        self._env = env.unwrapped
        self._expert = SearchExpert(rng, mistake_rate)

    def reset(self, observation: str, info: dict[str, Any]) -> None:
        """Take the question of the episode and read the opening text."""
        self._expert.reset(self._env.question, self._env.max_turns, observation)

    def learn(self, peer: Episode) -> None:
        """Nothing new: a reader of the peer does what this expert does by itself, mistakes apart."""

    def act(self) -> str:
        """Return the next search or the answer."""
        return self._expert.act()

    def thought(self) -> str:
        """Return the fact it is looking for."""
        return self._expert.thought()

    def see(self, action: str, observation: str, info: dict[str, Any]) -> None:
        """Read what a search found; other actions tell nothing."""
        if info["step"]["kind"] == "search":
            self._expert.see(protocol.parse(action).content, observation, info["retrieved"])


def _evaluation(env: EnvConfig, held_out: HeldOutQuestions) -> list[EvalSet]:
    """Each file or data set by itself; the synthetic questions are those of the test encyclopedia."""
    sources = [held_out.questions] if isinstance(held_out.questions, str) else held_out.questions
    if not sources or len({_name(source) for source in sources}) < len(sources):
        raise ValueError(
            f"eval.questions is {sources}; give files or data sets with different names, one at least"
        )
    if "" in map(_name, sources):  # a set without a name is none of evaluation
        raise ValueError(
            f"eval.questions is {held_out.questions!r}, which names no questions; give synthetic, files or "
            "data sets"
        )
    types = held_out.task_types or env.arguments.get("task_types")
    played = env.changed(split="test", num_questions=None, task_types=types)
    return [
        EvalSet(_name(source), played.changed(questions=source), held_out.num_questions, again=False)
        for source in sources
    ]


def _name(source: str) -> str:
    """The name of a set in tables: the file's name without folder and ending."""
    return PurePath(source).name.lstrip(".").partition(".")[0]


def worlds(episode: Episode) -> list[World]:
    """Which passages were seen, which queries were asked and what was answered."""
    facts: World = frozenset()
    states = []
    for step in episode.steps:
        if not step.error and step.info["step"]["kind"] in protocol.ACTIONS:
            parsed = protocol.parse(step.action)
            said = protocol.query_text(parsed.content)  # as the retriever reads it
            facts |= {f"{parsed.kind} {said!r}: made"} | {f"{name}: seen" for name in step.info["retrieved"]}
        states.append(facts)
    return states


SEARCH_QA = TaskSpec(
    held_out=HeldOutQuestions,
    evaluation=_evaluation,
    expert=lambda env: partial(SearchQAExpert, env),
    agents={
        "random": lambda env: RandomSearcher(),
        "expert": lambda env: ExpertAgent(make=partial(SearchQAExpert, env)),
        "oracle": OracleAgent,
    },
    plain="search",
    names=capitalised,
    unit="question",
    limit="env.max_turns",
    system="You answer questions by searching. Answer each message with one search or with the final answer.",
    worlds=worlds,
    measures=("f1", "search_count"),
)
