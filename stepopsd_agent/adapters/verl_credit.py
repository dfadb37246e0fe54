"""Credit methods as advantage estimators of verl, for those that read what verl hands to one.

The hook is `register_adv_est` of verl 0.9.1. It hands an estimator the rewards and the mask of the response
tokens, and the group of every row: no texts, no states, no log-probabilities. A run of sampled tokens is a
step. A trainer of one's own can hand on the records of `TextAgentLoop`, see `record_advantages`.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from stepopsd_agent.batch import Batch, Episodes, Steps, Tokens, collate
from stepopsd_agent.credit import CreditMethod, MissingColumnError, audit_credit, check_credit, make, names
from stepopsd_agent.learner import fill
from stepopsd_envs.extras import install_command
from stepopsd_wrappers import Episode

PREFIX = "stepopsd_"
"""Begins the names of the estimators, since verl has some methods of its own under the plain names."""

Estimator = Callable[..., tuple[Tensor, Tensor]]


def outcome_batch(rewards: Tensor, mask: Tensor, groups: Sequence[Any]) -> Batch:
    """The batch of some rows of verl, one episode each; what verl does not tell is None.

    Args:
        rewards: [N, T] rewards at the response tokens; a step has those up to the next one's first token.
        mask: [N, T] 1 at the tokens that the policy sampled.
        groups: [N] equal for the attempts at one task.

    Raises:
        ValueError: the shapes do not fit, or nothing was sampled.
    """
    if rewards.shape != mask.shape or rewards.dim() != 2 or len(groups) != len(mask):
        raise ValueError(
            f"rewards are {tuple(rewards.shape)}, the mask is {tuple(mask.shape)}, groups {len(groups)}: "
            "give [N, T], [N, T] and N"
        )
    sampled = mask.bool()
    if not sampled.any():
        raise ValueError("no token of the batch was sampled, so there is nothing to give credit to")
    begins = sampled & ~torch.cat([torch.zeros_like(sampled[:, :1]), sampled[:, :-1]], dim=1)
    number = begins.flatten().cumsum(0).view_as(mask) - 1  # of the latest step, also in rows without one
    episode = begins.nonzero()[:, 0]
    counts = begins.sum(1)
    first = counts.cumsum(0) - counts  # of the row's steps
    owner = torch.maximum(number, first[:, None])  # what comes before the first step belongs to it
    paid = torch.zeros(len(episode), dtype=rewards.dtype, device=rewards.device)
    acts = (counts > 0)[:, None].expand_as(mask)
    paid = paid.index_add(0, owner[acts], rewards[acts])
    index = torch.arange(len(episode), device=mask.device) - first[episode] + 1
    known = dict[Any, int]()
    group = [known.setdefault(key, len(known)) for key in groups]
    unknown: Any = None
    steps = Steps(episode, index, paid, unknown, unknown, unknown, unknown)
    places = torch.arange(mask.shape[1], device=mask.device).expand_as(mask).contiguous()
    return Batch(
        Tokens(
            torch.zeros_like(places), torch.ones_like(sampled), places, torch.where(sampled, number, -1),
            torch.zeros_like(rewards),
        ),
        steps,
        Episodes(torch.tensor(group, device=mask.device), rewards.sum(1), unknown, counts),
    )  # fmt: skip


def estimator(method: CreditMethod) -> Estimator:
    """A credit method as verl calls an estimator.

    Args:
        method: as `credit.make` gives it.

    Returns:
        A function of `token_level_rewards` [N, T], `response_mask` [N, T] and `index` [N]; it returns
        advantages and returns, both the method's advantages [N, T]. It raises ValueError where verl's
        `config` contradicts the settings of the method.

    Raises:
        ValueError: the method reads more than verl hands to an estimator, or has a loss of its own.
    """
    if (lack := _lack(method)) is not None:
        allowed = ", ".join(outcome_methods())
        raise ValueError(
            f"{type(method).__name__} {lack}, and verl's estimators know rewards, mask and groups alone: "
            f"choose one of {allowed}"
        )

    def estimate(
        token_level_rewards: Tensor,
        response_mask: Tensor,
        index: Sequence[Any],
        config: object = None,
        **given: object,
    ) -> tuple[Tensor, Tensor]:
        _refuse(method, config)
        with torch.no_grad():
            batch = outcome_batch(token_level_rewards, response_mask, index)
            credit = method(batch)
            check_credit(batch, credit)
        return credit.advantages, credit.advantages

    return estimate


def outcome_methods() -> tuple[str, ...]:
    """Names of the registered methods that read no more than verl hands to an estimator."""
    return tuple(name for name in names() if _lack(make(name)) is None)


def register_estimators(methods: Mapping[str, CreditMethod] | None = None) -> tuple[str, ...]:
    """Register credit methods with verl; ``algorithm.adv_estimator`` takes the names.

    Args:
        methods: by name; all `outcome_methods` with the papers' settings when absent.

    Returns:
        The names in verl: ``stepopsd_`` and the given one.

    Raises:
        ImportError: verl is not installed.
        ValueError: a method cannot be used, see `estimator`, or verl has another estimator of its name.
    """
    try:
        from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY, register_adv_est
    except ImportError as error:
        raise ImportError(
            f"verl's estimators need verl: {install_command('verl')}, see docs/other-trainers.md"
        ) from error
    chosen = {name: make(name) for name in outcome_methods()} if methods is None else methods
    made = {f"{PREFIX}{name}": estimator(method) for name, method in chosen.items()}
    for name, function in made.items():
        if methods is None and name in ADV_ESTIMATOR_REGISTRY:
            continue  # imported twice
        register_adv_est(name)(function)
    return tuple(made)


def record_advantages(
    records: Sequence[str],
    groups: Sequence[Any],
    response_mask: Tensor,
    method: CreditMethod,
    responses: Tensor,
) -> Tensor:
    """The credit of rows whose records are at hand, for a trainer of one's own that is built on verl.

    Args:
        records: [N] `episode` in the `extra_fields` of `TextAgentLoop` with ``records=true``.
        groups: [N] equal for the attempts at one task, such as verl's `uid`.
        response_mask: [N, T] 1 at the tokens that the policy sampled, as verl pads it.
        method: any that needs no model and has no loss of its own.
        responses: [N, T] ids of the response tokens, as verl pads them; rows with equal masks are told
            apart by them.

    Returns:
        [N, T] advantages, 0 where the mask is.

    Raises:
        ValueError: the method has a loss of its own, or a row is not that of its record.
        MissingColumnError: the method needs what the records do not tell.
    """
    known, counts = dict[Any, int](), Counter[int]()
    episodes = []
    for record, key in zip(records, groups, strict=True):
        group = known.setdefault(key, len(known))
        episode = replace(Episode.from_json(record), run="verl", group=group, member=counts[group])
        counts[group] += 1
        episodes.append(episode)
    batch = fill(collate(episodes), episodes, method.needs, None)
    credit = method(batch)
    if credit.terms:
        raise ValueError(f"{type(method).__name__} has a loss of its own, for which verl has no place")
    audit_credit(batch, credit)
    found = torch.zeros(response_mask.shape, device=response_mask.device)
    for place, (row, mask) in enumerate(zip(batch.action_mask, response_mask.bool().cpu(), strict=True)):
        start, length = int(row.int().argmax()), int(batch.tokens.attention_mask[place].sum())
        width = length - start
        same = torch.equal(row[start:length], mask[:width]) and not mask[width:].any()
        own = batch.tokens.input_ids[place, start:length]
        same = same and torch.equal(own, responses[place, :width].to(own.device))
        if batch.num_rows != len(episodes) or not same:
            raise ValueError(
                f"row {place} of verl is not that of its record: were the rows put in another order?"
            )
        found[place, :width] = credit.advantages[place, start:length]
    return found


_SETTINGS = {"norm_adv_by_std_in_grpo": ("std", True), "gamma": ("gamma", 1.0)}
"""Settings of verl's algorithm: the field of a method that decides it instead, and verl's default."""


def _refuse(method: CreditMethod, config: object) -> None:
    """Refuse a setting of verl that was changed, and that the method would leave unread."""
    for name, (field, usual) in _SETTINGS.items():
        asked = getattr(config, name, usual)
        own = getattr(method, field, asked)  # a method without the field has no use for it
        if asked not in (usual, own):
            raise ValueError(
                f"algorithm.{name} is {asked}, which {type(method).__name__} does not read: leave it out, or "
                f"say it of the method, as in register_estimators({{'mine': make(..., {field}={asked})}})"
            )


def _lack(method: CreditMethod) -> str | None:
    """What the method needs beyond rewards, mask and groups; None if nothing.

    It is found by trying: a batch of two groups, in which all that verl does not tell is None.
    """
    if method.needs:
        return f"needs {', '.join(sorted(method.needs))}"
    mask = torch.tensor([[1, 0, 1], [1, 1, 0], [1, 0, 1], [1, 0, 1]])
    rewards = torch.tensor([[0.0, 0, 1], [0, 0, 0], [0, 0, 1], [0, 0, 0]])
    try:
        credit = method(outcome_batch(rewards, mask, "aabb"))
    except (AttributeError, TypeError, MissingColumnError):
        return "reads the states or texts of the steps"
    return "has a loss of its own" if credit.terms else None
