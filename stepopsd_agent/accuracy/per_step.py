"""Credit of every step of a batch, from a method or a control.

A control is a baseline without credit assignment: the position of a step, its log-probability, whether the
environment accepted it, whether it changed the world. A method has to rank steps better than these.
"""

from collections.abc import Callable

import numpy as np
import torch

from stepopsd_agent import ops
from stepopsd_agent.accuracy.measures import Array
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit import Credit, LossTerm, check_credit


def step_credit(batch: Batch, result: Credit) -> Array:
    """[S] credit of each step: the mean over its tokens of the push on their log-probability.

    The push is minus the gradient of the loss by the log-probability, at the policy that sampled, times the
    number of tokens: the advantage itself for the surrogate, plus the same quantity for each further loss.

    Raises:
        TypeError: the method returned something else than a `Credit`.
        ValueError: it has a loss that compares whole distributions, whose push no batch tells.
        AuditError: the credit does not fit the batch, or is not finite: such values rank no steps.
    """
    if not isinstance(result, Credit):
        raise TypeError(f"the method returned a {type(result).__name__}; it must return a Credit")
    check_credit(batch, result)
    pushed = result.advantages.to(torch.float64)
    now = batch.tokens.student_logprobs
    now = batch.tokens.old_logprobs if now is None else now
    for term in result.terms:
        if not isinstance(term, LossTerm):
            raise ValueError(
                f"the further loss {term.name!r} compares whole distributions, which is no credit of steps: "
                "give a method without one, such as objective=sampled"
            )
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
    """[S] value of a control, one of `CONTROLS`, for each step."""
    return np.asarray(CONTROLS[name](batch).double().numpy(), dtype=float)
