"""An engine's other probabilities: seen, logged, and weighed; the built-in decoder's need none of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.batch import Batch, collate
from stepopsd_agent.config import LearnerConfig, RolloutConfig
from stepopsd_agent.credit import Credit, LossTerm, MissingColumnError
from stepopsd_agent.learner import corrected, fill, mismatch_metrics, mismatch_weights
from stepopsd_agent.ops import losses
from stepopsd_agent.rollout import rollout
from stepopsd_agent.run import Trainer
from stepopsd_wrappers import Episode, Step
from tests.agent.learner.test_columns import played
from tests.helpers.models import tiny
from tests.helpers.runs import run_config, taught

pytestmark = pytest.mark.samples
OTHER = 0.3
"""Nats by which `elsewhere` takes every token for less likely than it is."""


def shifted(episodes: Sequence[Episode]) -> list[Episode]:
    """The records of an engine that takes every token for `OTHER` nats less likely."""
    return [replace(episode, steps=tuple(map(less_likely, episode.steps))) for episode in episodes]


def less_likely(step: Step) -> Step:
    """The same step; one without tokens stays as it is."""
    if step.tokens is None:
        return step
    return replace(step, tokens=replace(step.tokens, logprobs=tuple(x - OTHER for x in step.tokens.logprobs)))


def elsewhere(*arguments: Any, **named: Any) -> list[Episode]:
    """A backend that draws as `rollout` and records other log-probabilities."""
    return shifted(rollout(*arguments, **named))


def seen() -> tuple[Batch, Credit]:
    """A batch of an engine with other probabilities, and its credit under GRPO."""
    policy = tiny()
    episodes = shifted(played(policy))
    batch = fill(collate(episodes), episodes, {"engine_logprobs"}, policy, rescore_old=True)
    return batch, credit.make("grpo")(batch)


def test_old_logprobs_are_the_learners_and_the_engines_are_kept_beside_them() -> None:
    """The ratio between them is the shift, at sampled tokens alone."""
    batch, _ = seen()
    engine, mask = batch.own["engine_logprobs"], batch.action_mask
    difference = (batch.tokens.old_logprobs - engine)[mask]
    torch.testing.assert_close(difference, torch.full_like(difference, OTHER), atol=1e-4, rtol=0)
    assert not bool(engine[~mask].any())


@pytest.mark.parametrize(
    ("settings", "weight"),
    [
        ({"mismatch": "none"}, 1.0),
        ({"mismatch": "truncate"}, 1.34986),  # exp(0.3)
        ({"mismatch": "truncate", "mismatch_cap": 1.25}, 1.25),
        ({"mismatch": "mask"}, 1.34986),
        ({"mismatch": "mask", "mismatch_high": 1.25}, 0.0),
    ],
)
def test_credit_is_weighed_as_the_settings_say(settings: dict[str, Any], weight: float) -> None:
    """Advantages and the weights of further losses; outside the sampled tokens nothing changes."""
    config = LearnerConfig(**settings)
    batch, plain = seen()
    term = LossTerm("further", losses.k3_kl, torch.ones_like(plain.advantages), (plain.advantages,))
    after, mask = corrected(replace(plain, terms=(term,)), batch, config), batch.action_mask
    expected = torch.where(mask, weight, 1.0)
    torch.testing.assert_close(mismatch_weights(batch, config), expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(after.advantages, plain.advantages * expected, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(after.terms[0].weights, expected, atol=1e-3, rtol=0)


def test_the_ratio_of_a_step_is_the_product_over_its_tokens() -> None:
    """exp(0.3 n) for a step of n tokens; the bounds are for the product."""
    config = LearnerConfig(mismatch="truncate", mismatch_per="step", mismatch_cap=2.0)
    batch, _ = seen()
    weights, steps = mismatch_weights(batch, config), batch.tokens.step_of_token
    for step in range(batch.num_steps):
        own = weights[(steps == step) & batch.action_mask]
        expected = min(2.718281828 ** (OTHER * len(own)), 2.0)
        torch.testing.assert_close(own, torch.full_like(own, expected), atol=1e-2, rtol=0)


def test_metrics_tell_how_far_the_engine_is() -> None:
    """All tokens have ratio exp(0.3): chi2 = exp(0.6) - 1, all count the same, k3 = exp(0.3) - 1.3."""
    config = LearnerConfig(mismatch_cap=1.25)
    found = mismatch_metrics(seen()[0], config)
    expected = {"kl": 0.04986, "chi2": 0.82212, "ess": 1.0, "largest": OTHER, "bounded": 1.0}
    assert found == {f"mismatch/{name}": pytest.approx(value, abs=1e-3) for name, value in expected.items()}


def test_a_batch_without_the_engines_column_says_so() -> None:
    """Weights of 1 would look as if the engine agreed."""
    policy = tiny()
    episodes = played(policy)
    batch = fill(collate(episodes), episodes, set(), policy)
    with pytest.raises(MissingColumnError, match="engine_logprobs"):
        mismatch_weights(batch, LearnerConfig())


def test_a_run_with_another_engine_logs_and_weighs_and_one_with_the_built_in_does_not() -> None:
    """The engine's numbers change the update through the weights alone; its alarm has its figure."""
    plain = Trainer(run_config(), credit.make("grpo"), taught())
    assert not [name for name in plain.step()[1] if name.startswith("mismatch/")]

    def trained(how: str) -> tuple[dict[str, float], torch.Tensor]:
        config = run_config(rollout={"backend": "vllm"}, learner={"mismatch": how})
        one = Trainer(config, credit.make("grpo"), taught(), backend=elsewhere)
        metrics = one.step()[1]
        return metrics, torch.cat([w.flatten() for w in one.policy.state().values()])

    unweighed, weighed = trained("none"), trained("truncate")
    assert unweighed[0]["mismatch/largest"] == pytest.approx(OTHER, abs=1e-3)
    assert unweighed[0]["update/loss"] != weighed[0]["update/loss"]
    assert not torch.equal(unweighed[1], weighed[1])


def test_an_engine_with_the_learners_numbers_changes_nothing() -> None:
    """Ratios are 1 but for rounding, so the update is that of a run that rescores what it sampled.

    In float64: of a gradient near zero Adam's first step takes the sign alone, whatever rounding made of it.
    """

    def trained(**sections: Any) -> torch.Tensor:
        config = run_config(learner={"rescore_old": True, "lr": 1e-4}, **sections)
        one = Trainer(config, credit.make("grpo"), taught("float64"))
        one.step()
        return torch.cat([w.flatten() for w in one.policy.state().values()])

    torch.testing.assert_close(trained(rollout={"backend": "vllm"}), trained(), atol=1e-8, rtol=0)


@pytest.mark.parametrize(
    ("settings", "rescored"),
    [({}, False), ({"top_k": 4}, True), ({"top_p": 0.9}, True), ({"backend": "vllm"}, True)],
)
def test_old_logprobs_are_computed_anew_where_others_were_recorded(
    settings: dict[str, Any], rescored: bool
) -> None:
    """Where sampling cut, and where another engine drew; the plan counts the same passes."""
    assert RolloutConfig(**settings).rescored == rescored
