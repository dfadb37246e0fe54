"""Reward shaping on the batch."""

import pytest
import torch

from stepopsd_agent.batch import Batch, Row, batch_from_lists, penalise_invalid
from stepopsd_agent.credit import CreditMethod
from stepopsd_agent.credit.dr_grpo import DrGRPO
from stepopsd_agent.credit.gigpo import GiGPO, returns_to_go
from stepopsd_agent.credit.grpo import GRPO
from stepopsd_agent.credit.rloo import RLOO


def batch() -> Batch:
    """Two episodes of two steps; the first has one invalid step, the second two."""
    valid = (True, False, False, False)
    rows: list[Row] = [
        {"input_ids": [1, 2, 3], "step_of_token": [-1, 2 * e, 2 * e + 1], "old_logprobs": [0.0, -1.0, -1.0]}
        for e in range(2)
    ]
    steps: list[Row] = [
        {
            "episode_of_step": s // 2,
            "index_in_episode": s % 2 + 1,
            "reward": float(s == 1),
            "anchor": 0,
            "state": 0,
            "valid": valid[s],
            "kind": 1,
        }
        for s in range(4)
    ]
    episodes: list[Row] = [
        {"group_of_episode": 0, "episode_return": float(e == 0), "success": e == 0} for e in range(2)
    ]
    return batch_from_lists(rows, steps, episodes)


def test_penalise_invalid_takes_it_off_step_and_return() -> None:
    """0.1 per invalid step: rewards 0, 1 - 0.1, -0.1, -0.1; returns 1 - 0.1 and -0.2; success untouched."""
    before = batch()
    after = penalise_invalid(before, 0.1, "episode")
    torch.testing.assert_close(after.steps.reward, torch.tensor([0.0, 0.9, -0.1, -0.1]))
    torch.testing.assert_close(after.episodes.episode_return, torch.tensor([0.9, -0.2]))
    assert after.episodes.success.tolist() == [True, False]
    assert before.episodes.episode_return.tolist() == [1.0, 0.0]


def test_penalise_invalid_of_zero_is_the_batch_itself() -> None:
    """Nothing to take off."""
    before = batch()
    assert penalise_invalid(before, 0.0) is before


def test_penalise_invalid_on_the_step_leaves_the_return() -> None:
    """The default: rewards as above, a column of penalties, returns 1 and 0."""
    after = penalise_invalid(batch(), 0.1)
    torch.testing.assert_close(after.steps.reward, torch.tensor([0.0, 0.9, -0.1, -0.1]))
    assert after.steps.penalty is not None
    torch.testing.assert_close(after.steps.penalty, torch.tensor([0.0, 0.1, 0.1, 0.1]))
    assert after.episodes.episode_return.tolist() == [1.0, 0.0]


def test_penalty_on_the_step_is_the_credit_of_its_own_row() -> None:
    """verl-agent's GRPO: scores 1, 0.9, -0.1, -0.1 of rows of steps; mean 0.425, sample deviation 0.6076."""
    credit = GRPO()(penalise_invalid(batch(), 0.1)).advantages[:, 1:].flatten()
    expected = [(score - 0.425) / 0.607591 for score in (1.0, 0.9, -0.1, -0.1)]
    torch.testing.assert_close(credit, torch.tensor(expected), atol=1e-4, rtol=0)
    whole = GRPO()(penalise_invalid(batch(), 0.1, "episode")).advantages[:, 1:]
    assert (whole[:, 0] == whole[:, 1]).all()  # every step of an episode pays for all of its refused ones


@pytest.mark.parametrize("method", [DrGRPO(), RLOO()])
def test_penalty_on_the_step_of_methods_without_deviation(method: CreditMethod) -> None:
    """Two steps of one episode differ by the penalty exactly."""
    first = method(penalise_invalid(batch(), 0.1)).advantages[0, 1:]
    assert float(first[0] - first[1]) == pytest.approx(0.1, abs=1e-6)


def test_penalty_on_the_step_is_no_part_of_the_returns_before_it() -> None:
    """GiGPO's returns at gamma 1, all on one anchor: 1, 0.9, -0.1, -0.1; the first step pays nothing."""
    penalised = penalise_invalid(batch(), 0.1)
    part = GiGPO(gamma=1.0, std=False)(penalised).advantages - DrGRPO()(penalised).advantages
    expected = torch.tensor([1.0, 0.9, -0.1, -0.1]) - 0.425
    torch.testing.assert_close(part[:, 1:].flatten(), expected, atol=1e-6, rtol=0)


def test_penalty_on_steps_of_equal_episodes_stays_bounded() -> None:
    """Equal returns, as many refused steps in each: a deviation over episodes would be 0."""
    even = batch().with_columns(valid=torch.tensor([True, False, True, False]))
    even = even.with_columns(episode_return=torch.zeros(2))
    assert GRPO()(penalise_invalid(even, 0.01)).advantages.abs().max() < 2


def test_penalty_on_the_step_means_the_same_to_the_history_groups() -> None:
    """HGPO's returns are GiGPO's: a step does not pay for the refused ones after it."""
    for gamma in (1.0, 0.5):
        to_go = returns_to_go(penalise_invalid(batch(), 0.1), gamma)
        expected = torch.tensor([gamma, 1.0 - 0.1, -0.1, -0.1])
        torch.testing.assert_close(to_go, expected, atol=1e-6, rtol=0)
