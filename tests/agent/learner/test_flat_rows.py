"""Rows whose gradient is known to be zero are not computed, and the update is the same without them."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from stepopsd_agent.batch import Batch
from stepopsd_agent.credit import Credit, LossTerm
from stepopsd_agent.learner import Learner, learner as module
from stepopsd_agent.models import Policy
from tests.agent.learner.test_learner import batch_for, credit_for
from tests.helpers.models import tiny

AGGREGATIONS = ("token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "seq-mean-token-sum-norm")


def flat(batch: Batch, *groups: int) -> Credit:
    """Credit of `credit_for`, but none in these groups."""
    credit = credit_for(batch)
    group = batch.group_of_step[batch.tokens.step_of_token.clamp_min(0)]
    return replace(
        credit, advantages=credit.advantages.masked_fill(torch.isin(group, torch.tensor(groups)), 0)
    )


def everything(rows: torch.Tensor, *_: object, **__: object) -> tuple[torch.Tensor, float]:
    """In place of `learned_from`: every row is computed."""
    return rows, 0.0


def moved(
    policy: Policy, batch: Batch, credits: list[Credit], **settings: Any
) -> tuple[dict[str, torch.Tensor], dict[str, float], int]:
    """Weights after an update with each credit, the figures of the last one, and the tokens it processed."""
    learner = Learner(policy, **{"lr": 1e-2, "kl_coef": 0.0, "weight_decay": 0.1, **settings})
    stats: dict[str, float] = {}
    for number, credit in enumerate(credits):
        learner.budget.take()
        stats = learner.update(batch, credit, seed=number)
    return policy.state(), stats, learner.budget.take()


def both_ways(
    patch: pytest.MonkeyPatch, batch: Batch, credits: list[Credit], **settings: Any
) -> tuple[dict[str, float], dict[str, float], int, int]:
    """Figures and tokens with and without the rows; the weights have to agree."""
    mine, stats, tokens = moved(tiny("float64"), batch, credits, **settings)
    patch.setattr(module, "learned_from", everything)
    whole, all_stats, all_tokens = moved(tiny("float64"), batch, credits, **settings)
    for name, weight in whole.items():
        torch.testing.assert_close(mine[name], weight, atol=1e-8, rtol=0)
    return stats, all_stats, tokens, all_tokens


@pytest.mark.parametrize("layout", ["transcript", "window"])
@pytest.mark.parametrize("mini_batches", [1, 3])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_flat_rows_change_nothing_but_the_work(
    monkeypatch: pytest.MonkeyPatch, aggregation: str, mini_batches: int, layout: str
) -> None:
    """Their tokens still count where the loss is a mean; figures but approx_kl are the same."""
    batch = batch_for(tiny("float64"), layout, episodes=8)
    settings = {"aggregation": aggregation, "mini_batches": mini_batches}
    credits = [credit_for(batch), flat(batch, 0, 2, 3)]
    stats, whole, tokens, all_tokens = both_ways(monkeypatch, batch, credits, **settings)
    for name in ("loss", "clip_fraction", "grad_norm", "kl"):
        assert stats[name] == pytest.approx(whole[name], rel=1e-6)  # weights are in single precision
    assert tokens < 0.6 * all_tokens


@pytest.mark.parametrize("mini_batches", [1, 2])
def test_flat_rows_alone_let_the_optimizer_step_with_zeros(
    monkeypatch: pytest.MonkeyPatch, mini_batches: int
) -> None:
    """Momentum and weight decay go on; one row in each mini-batch is computed for it."""
    batch = batch_for(tiny("float64"), episodes=4)
    credits = [credit_for(batch), flat(batch, 0, 1)]
    stats, _, tokens, all_tokens = both_ways(monkeypatch, batch, credits, mini_batches=mini_batches)
    assert stats["loss"] == stats["grad_norm"] == 0.0
    assert tokens <= all_tokens * mini_batches / 4 + 1e-9


def test_flat_rows_are_computed_where_something_pulls_at_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The KL term, or a further loss; not one whose weights are zero there."""
    policy = tiny("float64")
    batch = batch_for(policy)
    credit = flat(batch, 0)
    ones = batch.action_mask.double()

    def with_term(weights: torch.Tensor) -> Credit:
        return replace(credit, terms=(LossTerm("pull", lambda new: -new, weights),))

    _, _, every, _ = both_ways(monkeypatch, batch, [credit_for(batch)])
    monkeypatch.undo()
    cases = [
        (credit, {"kl_coef": 0.1}, False),
        (with_term(ones), {}, False),
        (with_term(torch.where(credit.advantages != 0, ones, 0)), {}, True),
        (credit, {}, True),
    ]
    for given, settings, fewer in cases:
        _, _, tokens, _ = both_ways(monkeypatch, batch, [given], **settings)
        monkeypatch.undo()
        assert (tokens < every) == fewer


def test_flat_rows_do_not_dilute_the_distance_to_the_sampling_policy() -> None:
    """The policy that sampled was .25 nats surer of every token: so far it is, or 0 with no row."""
    policy = tiny("float64")
    batch = batch_for(policy)
    batch = batch.with_columns(
        old_logprobs=torch.where(batch.action_mask, batch.tokens.old_logprobs + 0.25, 0)
    )
    for groups in ((), (0,), (1,), (0, 1)):
        for aggregation in AGGREGATIONS:
            _, stats, _ = moved(policy, batch, [flat(batch, *groups)], aggregation=aggregation, lr=0.0)
            assert stats["approx_kl"] == pytest.approx(0.25 if len(groups) < 2 else 0)
