"""The environment of a run and its evaluation: the sections ``env`` and ``eval`` of the settings.

An environment's constructor says which arguments it takes (see `tasks.settings`), so they are kept as a
mapping. In files and flags they stand beside the other settings of their section: ``env.tier``,
``eval.games``.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from stepopsd_agent.config.limits import at_least
from stepopsd_wrappers.parse_response import ResponseFormat
from stepopsd_wrappers.text_history import Layout


@dataclass
class EnvConfig:
    """The environment and how its texts are shown to a language model.

    Attributes:
        id: Gymnasium id of an environment that `stepopsd_agent.tasks` knows; "module:id" imports the module
            first.
        layout: "transcript" (one row per episode) or "window" (task and the last steps, one row per step).
        history: steps shown by the window layout.
        response: "plain" (the response is the action; in SearchQA the same as search), "tags" (the action
            stands inside <action> tags) or "search" (Search-R1's tags, handed on whole).
        arguments: of the environment's constructor; those that are absent have its defaults.
    """

    id: str = "stepopsd/ALFWorld-v0"
    layout: Layout = "transcript"
    history: int = 2
    response: ResponseFormat = "plain"
    arguments: dict[str, Any] = field(default_factory=dict)

    def changed(self, **arguments: Any) -> "EnvConfig":
        """The same with some constructor arguments changed."""
        return replace(self, arguments={**self.arguments, **arguments})


@dataclass
class EvalConfig:
    """Evaluation, on held-out tasks where the environment has them.

    Attributes:
        every: updates between evaluations during training; 0 means only at start and end.
        temperature: of sampling; 0 takes the likeliest token.
        seeds: attempts at every task, each with sampling noise of its own.
        arguments: which tasks are played; the environment's `TaskSpec.held_out` has the fields and
            defaults.
    """

    every: int = at_least(0, 0)
    temperature: float = at_least(0, 0.4)
    seeds: int = at_least(1, 1)
    arguments: dict[str, Any] = field(default_factory=dict)
