"""What the credit benchmark compares: methods with settings, and controls that a method has to beat.

A control needs no idea of credit: where in the episode a step stands, how likely the policy found it, whether
the environment accepted it, whether it changed the world. A table without them proves nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
import yaml

from benchmarks.credit.judge import Array
from stepopsd_agent import credit, ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit import Credit, CreditMethod, LossTerm

TEXT = frozenset({"text_key", "next_text_key"})


@dataclass(frozen=True)
class Entry:
    """A row of the tables.

    Attributes:
        name: in the tables.
        method: registered name, or "module:name" of a method outside the package.
        settings: its fields, the others at their defaults.
    """

    name: str
    method: str
    settings: tuple[tuple[str, Any], ...] = ()

    def make(self) -> CreditMethod:
        """The method."""
        return credit.make(self.method, **dict(self.settings))


SKIPPED = {
    "vine": "its values are the truth that the others are measured with",
    "igpo": "gold answers are known for Search-QA alone",
    "tigpo": "recordings are of one update, without a past, where it is graph_gpo",
    "oracle": "a bound, shown among the controls",
}


def entries(names: Sequence[str] | None = None) -> list[Entry]:
    """The named methods, or all registered ones with the variants that the findings are about.

    A name may be followed by settings, as in "path_gain gamma=0.5 ways=false", and means that variant alone.

    A method with a `key` is there once for each of its keys, `step_opsd` once without the normaliser of its
    steps, and methods that compare whole distributions in their form on the sampled tokens.
    """
    found = []
    for name in names or [name for name in credit.names() if name not in SKIPPED]:
        method, *settings = name.split()
        if settings:
            found.append(Entry(name, method, tuple(_setting(text) for text in settings)))
            continue
        kinds = {spec.name: spec for spec in fields(credit.load(name))}
        if "key" in kinds:
            found += [Entry(f"{name}, {key} keys", name, (("key", key),)) for key in KEYS]
        elif "objective" in kinds:
            found.append(Entry(f"{name}, sampled", name, (("objective", "sampled"),)))
        else:
            found.append(Entry(name, name))
        if name == "step_opsd":
            found.append(Entry("step_opsd, step_norm none", name, (("step_norm", "none"),)))
    return found


KEYS = ("observation", "state", "text")


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is no setting; write field=value")
    return name, yaml.safe_load(value)


def step_credit(batch: Batch, result: Credit) -> Array:
    """[S] credit of each step: the mean over its tokens of the push on their log-probability.

    For an advantage that is the advantage itself, as the update's gradient at the policy that sampled is -A a
    token. A further loss adds its own gradient, times the number of tokens, which both share as a normaliser.
    """
    pushed = result.advantages.to(torch.float64)
    now = batch.tokens.student_logprobs
    now = batch.tokens.old_logprobs if now is None else now
    for term in result.terms:
        if isinstance(term, LossTerm):
            variable = now.detach().to(torch.float64).requires_grad_(True)
            loss = (term.weights * term.function(variable, *term.inputs)).sum()
            (slope,) = torch.autograd.grad(loss, variable)
            pushed = pushed - slope * batch.action_mask.sum()
    mean = ops.step_mean(pushed, batch.tokens.step_of_token, batch.num_steps)
    return np.asarray(mean.detach().numpy(), dtype=float)


def _position(batch: Batch) -> torch.Tensor:
    return batch.steps.index_in_episode


def _likelihood(batch: Batch) -> torch.Tensor:
    return ops.step_mean(batch.tokens.old_logprobs, batch.tokens.step_of_token, batch.num_steps)


def _changed(batch: Batch) -> torch.Tensor:
    assert batch.steps.next_state is not None
    return batch.steps.state != batch.steps.next_state


CONTROLS: dict[str, Callable[[Batch], torch.Tensor]] = {
    "the same everywhere": lambda batch: torch.zeros(batch.num_steps),
    "position in the episode": _position,
    "student's log-probability": _likelihood,
    "step accepted": lambda batch: batch.steps.valid,
    "step changed the world": _changed,
}


def control_credit(name: str, batch: Batch) -> Array:
    """[S] what a control says of each step."""
    return np.asarray(CONTROLS[name](batch).double().numpy(), dtype=float)
