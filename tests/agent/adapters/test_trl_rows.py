"""Each row of TRL's loss has the credit of its own episode, also where several rows have the same ids."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stepopsd_agent.adapters import Crediting, StepCredit, TRLRollouts
from stepopsd_agent.models import Policy
from stepopsd_agent.rollout import Attempt, rollout
from stepopsd_wrappers import Episode
from tests.agent.adapters.test_trl_credit import GROUPS, SIZE, GRPOTrainer, datasets, grpo_config
from tests.agent.models.test_self_check import random_policy
from tests.helpers.runs import PARAMS, run_config, taught

pytestmark = pytest.mark.samples
RETURNS = ((0.0, 1.0, 2.0, 3.0), (5.0, 0.0, 0.0, 0.0))
"""Of two groups of the same four episodes, so that equal ids have different advantages."""


def paid(episode: Episode, group: int, value: float) -> Episode:
    """The episode with this return; log-probabilities, which GRPO does not read, tell which of all it is."""
    steps = [replace(step, reward=0.0) for step in episode.steps]
    steps[-1] = replace(steps[-1], reward=value)
    mark = -1.0 - group - episode.member / 10
    for number, step in enumerate(steps):
        if step.tokens is not None:
            marked = replace(step.tokens, logprobs=(mark,) * len(step.tokens.sampled_ids))
            steps[number] = replace(step, tokens=marked)
    return replace(episode, steps=tuple(steps), group=group)


def alike(
    policy: Policy, envs: Sequence[Any], attempts: Sequence[Attempt], *arguments: Any, **named: Any
) -> list[Episode]:
    """One group of `rollout`, twice, with other returns: as in a world that draws what happens."""
    played = rollout(policy, envs, attempts[:SIZE], *arguments, **named)
    return [
        paid(episode, group, value)
        for group, values in enumerate(RETURNS)
        for episode, value in zip(played, values, strict=True)
    ]


class Trainer(StepCredit, GRPOTrainer):  # type: ignore[misc]
    """As users write it, with a look at what reaches the loss."""

    seen: list[dict[str, Tensor]]

    def _compute_loss(self, model: Any, inputs: dict[str, Tensor]) -> Any:
        self.seen.append({name: one.clone() for name, one in inputs.items()})
        return super()._compute_loss(model, inputs)


@pytest.mark.parametrize(
    "settings",
    [
        {"loss_type": "bnpo"},
        {"loss_type": "dapo", "top_entropy_quantile": 0.5},
        {"loss_type": "grpo", "gradient_accumulation_steps": 1, "steps_per_generation": 2, "max_steps": 2},
        {"loss_type": "dr_grpo", "num_iterations": 2, "max_steps": 2},
        {"loss_type": "bnpo", "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
    ],
    ids=lambda settings: "-".join(f"{value}" for value in settings.values()),
)
def test_trl_gives_rows_with_the_same_ids_each_its_own_credit(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    """In micro-batches that are normalised each for itself, and in different steps of the optimizer."""
    for seed in range(3):  # TRL shuffles by it
        policy = taught()
        rollouts = TRLRollouts(run_config().env, Crediting("grpo"), PARAMS, slots=8, backend=alike)
        trainer = Trainer(
            rollouts=rollouts, model=policy.model, processing_class=policy.tokenizer,
            args=grpo_config(tmp_path, **{"max_steps": 1, "seed": seed, **settings}),
            train_dataset=datasets.Dataset.from_list((rollouts.rows() * GROUPS)[:GROUPS]),
        )  # fmt: skip
        trainer.seen = []
        trainer.train()
        by_mark = {
            round(-1.0 - group - member / 10, 1): (value - sum(values) / SIZE) / torch.tensor(values).std()
            for group, values in enumerate(RETURNS)
            for member, value in enumerate(values)
        }
        rows = 0
        for inputs in trainer.seen:
            sampled = (inputs["tool_mask"] * inputs["completion_mask"]).bool()
            for row, mask, marks in zip(
                inputs["advantages"], sampled, inputs["sampling_per_token_logps"], strict=True
            ):
                own = by_mark[round(float(marks[mask][0]), 1)]
                torch.testing.assert_close(row[mask], own.expand(int(mask.sum())), atol=1e-3, rtol=0)
                assert not row[~mask].any()
                rows += 1
        assert rows == GROUPS * SIZE * int(settings.get("num_iterations", 1))


class Compared(StepCredit, GRPOTrainer):  # type: ignore[misc]
    """Keeps, for every token of the first update, the log-probability of TRL's loss and of the rollout."""

    pairs: list[tuple[Tensor, Tensor]]

    def _compute_loss(self, model: Any, inputs: dict[str, Tensor]) -> Any:
        ids, real = (
            torch.cat([inputs[f"prompt_{name}"], inputs[f"completion_{name}"]], dim=1)
            for name in ("ids", "mask")
        )
        with torch.no_grad():
            own = self._get_per_token_logps_and_entropies(model, ids, real, inputs["completion_ids"].shape[1])
        sampled = (inputs["tool_mask"] * inputs["completion_mask"]).bool()
        self.pairs.append((own[0][sampled], inputs["sampling_per_token_logps"][sampled]))
        return super()._compute_loss(model, inputs)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_trl_reads_the_tokens_where_they_were_drawn(temperature: float, tmp_path: Path) -> None:
    """Behind the same tokens, at the same temperature: its log-probabilities are those of the draws."""
    policy, params = taught(), replace(PARAMS, temperature=temperature)
    rollouts = TRLRollouts(run_config().env, Crediting("grpo"), params, slots=8)
    trainer = Compared(
        rollouts=rollouts, model=policy.model, processing_class=policy.tokenizer,
        args=grpo_config(tmp_path, max_steps=1, temperature=temperature),
        train_dataset=datasets.Dataset.from_list((rollouts.rows() * GROUPS)[:GROUPS]),
    )  # fmt: skip
    trainer.pairs = []
    trainer.train()
    assert sum(len(own) for own, _ in trainer.pairs) > 100
    for own, drawn in trainer.pairs:
        torch.testing.assert_close(own, drawn, atol=2e-4, rtol=0)


def test_trl_is_refused_a_model_that_reads_padding(tmp_path: Path) -> None:
    """TRL would compute the log-probabilities of GPT-2 at other positions than it was played at."""
    small: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 512}
    policy = random_policy("GPT2Config", **small)
    rollouts = TRLRollouts(run_config().env, Crediting("grpo"), PARAMS)
    with pytest.raises(
        ValueError, match=r"GPT2LMHeadModel reads a row otherwise behind padding, up to .* nats"
    ):
        Trainer(
            rollouts=rollouts, model=policy.model, processing_class=policy.tokenizer,
            args=grpo_config(tmp_path), train_dataset=datasets.Dataset.from_list(rollouts.rows() * GROUPS),
        )  # fmt: skip
