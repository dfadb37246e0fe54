"""The weights that make one number of per-token losses."""

from typing import get_args

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from stepopsd_agent.config import Aggregation
from stepopsd_agent.ops import losses
from tests.helpers.builders import padded, random_batch, steady

AGGREGATIONS = get_args(Aggregation)


def mask_of(*rows: str) -> Tensor:
    """A mask from strings, x for True."""
    return torch.tensor([[letter == "x" for letter in text] for text in rows])


def test_token_weights_match_hand_worked_values() -> None:
    """Of the first token of each of three sequences."""
    mask = mask_of(".xx.", ".x..", ".xxx")  # 6 tokens in 3 sequences of 2, 1 and 3
    first = {name: losses.token_weights(mask, name, horizon=10)[:, 1] for name in AGGREGATIONS}
    assert first["token-mean"].tolist() == pytest.approx([1 / 6] * 3)
    assert first["seq-mean-token-mean"].tolist() == pytest.approx([1 / 6, 1 / 3, 1 / 9])
    assert first["seq-mean-token-sum"].tolist() == pytest.approx([1 / 3] * 3)
    assert first["seq-mean-token-sum-norm"].tolist() == pytest.approx([1 / 30] * 3)


def test_token_weights_by_step_are_those_of_a_row_per_step() -> None:
    """A sequence is what it is told to be, not what happens to be a row."""
    transcript, window = random_batch(3, "transcript"), random_batch(3, "window")
    for name in AGGREGATIONS:
        one, other = (
            losses.token_weights(b.action_mask, name, sequence_of_token=b.tokens.step_of_token, horizon=7)[
                b.action_mask
            ]
            for b in (transcript, window)
        )
        assert torch.equal(one, other)
        assert torch.equal(
            other, losses.token_weights(window.action_mask, name, horizon=7)[window.action_mask]
        )


@given(st.integers(0, 50), st.sampled_from(AGGREGATIONS), st.integers(0, 3), st.integers(0, 3))
@steady
def test_token_weights_are_zero_outside_the_mask_and_blind_to_padding(
    seed: int, aggregation: Aggregation, left: int, right: int
) -> None:
    """And the means are means."""
    batch = random_batch(seed)
    more = padded(batch, left, right)
    weights = losses.token_weights(batch.action_mask, aggregation, horizon=9)
    wider = losses.token_weights(more.action_mask, aggregation, horizon=9)
    assert (weights[~batch.action_mask] == 0).all() and (weights[batch.action_mask] > 0).all()
    assert torch.equal(weights[batch.action_mask], wider[more.action_mask])
    if aggregation in ("token-mean", "seq-mean-token-mean"):
        assert weights.sum().item() == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_micro_batches_add_up_to_the_whole_loss_and_gradient(aggregation: Aggregation) -> None:
    """One pass over all rows against one pass per row."""
    batch = random_batch(1).to(dtype=torch.float64)
    weights = losses.token_weights(batch.action_mask, aggregation, horizon=9)
    table = torch.randn(
        64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True
    )

    def gradient(rows: list[slice]) -> tuple[float, Tensor]:
        total, slope = 0.0, torch.zeros_like(table)
        for part in rows:
            tokens = batch.tokens.rows(part)
            new = table.log_softmax(-1)[tokens.input_ids.roll(1, dims=1), tokens.input_ids]
            per_token = losses.ppo_clip(new, tokens.old_logprobs, torch.ones_like(new))
            loss = (weights[part] * per_token).sum()
            slope += torch.autograd.grad(loss, table)[0]
            total += loss.item()
        return total, slope

    whole, parts = gradient([slice(0, 6)]), gradient([slice(i, i + 1) for i in range(6)])
    assert whole[0] == pytest.approx(parts[0], rel=1e-12)
    torch.testing.assert_close(whole[1], parts[1], rtol=1e-12, atol=1e-14)


def test_token_weights_refuse_advantages_in_place_of_the_mask() -> None:
    """A published bug."""
    with pytest.raises(TypeError, match="is it a mask"):
        losses.token_weights(torch.tensor([[0.0, 0.5, 0.5]]), "token-mean")


def test_token_weights_refuse_an_empty_mask_and_an_unknown_name() -> None:
    """Neither has a loss."""
    with pytest.raises(ValueError, match="selects no token"):
        losses.token_weights(torch.zeros(2, 3, dtype=torch.bool), "token-mean")
    with pytest.raises(ValueError, match="'mean'; it must be one of token-mean"):
        losses.token_weights(torch.ones(2, 3, dtype=torch.bool), "mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="divides by a constant: give horizon"):
        losses.token_weights(torch.ones(2, 3, dtype=torch.bool), "seq-mean-token-sum-norm")
