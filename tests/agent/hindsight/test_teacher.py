"""The teacher's log-probabilities and distributions, and losses that compare them with the student's."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.batch import Batch, TopK
from stepopsd_agent.config import Position
from stepopsd_agent.credit import Credit
from stepopsd_agent.hindsight import Block, batch_logprobs, batch_topk, choose_peers
from stepopsd_agent.learner import Learner
from stepopsd_agent.models import Policy, Scorer
from stepopsd_agent.ops import distillation
from stepopsd_agent.run import Trainer
from tests.agent.learner.test_learner import batch_for
from tests.helpers.models import gradients_of, tiny
from tests.helpers.runs import run_config, taught

BLOCKS = [[5, 6, 7], [], [8, 9], [11]]
"""Hindsight of four episodes; the second has none."""


PER_STEP: list[Block] = [{1: [7, 8, 9], 3: [11]}, {}, [8, 9], {2: [5]}]
"""Hindsight that differs from step to step; some steps, and the second episode, are told nothing."""


def likely(policy: Policy, batch: Batch, position: Position, top_k: int, budget: int = 4096) -> TopK:
    """The teacher's likeliest tokens."""
    return batch_topk(Scorer(policy, tokens_per_pass=budget), batch, top_k, BLOCKS, position)


@pytest.mark.parametrize("layout", ["transcript", "window"])
@pytest.mark.parametrize("position", ["inline", "prefix"])
def test_batch_logprobs_equal_a_pass_over_the_written_out_context(layout: str, position: Position) -> None:
    """Each step scored alone, its hindsight-enriched context written out token by token."""
    policy, teacher = tiny(seed=0), tiny(seed=1)
    batch = batch_for(policy, layout)
    blocks: list[list[int]] = [[7, 8, 9], [], [11], [12, 13]]
    got = batch_logprobs(Scorer(teacher, tokens_per_pass=300), batch, blocks, position)
    checked = 0
    for n in range(len(batch.tokens.input_ids)):
        length = int(batch.tokens.attention_mask[n].sum())
        ids, owner = (
            batch.tokens.input_ids[n, :length].tolist(),
            batch.tokens.step_of_token[n, :length].tolist(),
        )
        first = next(t for t in range(length) if owner[t] >= 0)
        for step in sorted(set(owner) - {-1}):
            columns = [t for t in range(length) if owner[t] == step]
            block = blocks[int(batch.steps.episode_of_step[step])]
            at = columns[0] if position == "inline" else first
            row = torch.tensor([ids[:at] + block + ids[at : columns[-1] + 1]])
            select = torch.zeros_like(row, dtype=torch.bool)
            select[0, -len(columns) :] = True
            with torch.inference_mode():
                expected = teacher.token_logprobs(row, select)[0, -len(columns) :]
            torch.testing.assert_close(got[n, columns], expected, atol=1e-5, rtol=0)
            checked += 1
    assert checked == batch.num_steps
    assert not got[~batch.action_mask].any()


@pytest.mark.parametrize("position", ["inline", "prefix"])
def test_batch_topk_agrees_with_batch_logprobs(position: Position) -> None:
    """Whole vocabulary: at the sampled ids it says what scoring them says, place by place."""
    policy = tiny("float64")
    batch = batch_for(policy)
    scored = batch_logprobs(Scorer(policy, tokens_per_pass=4096), batch, BLOCKS, position)
    every = likely(policy, batch, position, 0)
    sampled = batch.tokens.input_ids[batch.action_mask]
    dense = torch.zeros_like(every.logprobs).scatter(1, every.ids, every.logprobs)
    picked = dense.gather(1, sampled[:, None])[:, 0]
    torch.testing.assert_close(picked.float(), scored[batch.action_mask].float(), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        every.logprobs.exp().sum(1), torch.ones(len(sampled), dtype=every.logprobs.dtype)
    )


def test_batch_topk_keeps_the_likeliest_whatever_the_budget() -> None:
    """Three of them, sorted; small passes give the same."""
    policy = tiny()
    batch = batch_for(policy)
    few, every = likely(policy, batch, "inline", 3), likely(policy, batch, "inline", 0)
    assert few.ids.shape == (int(batch.action_mask.sum()), 3)
    assert torch.equal(few.ids, every.ids[:, :3])
    small = likely(policy, batch, "inline", 3, budget=1)
    assert torch.equal(small.ids, few.ids)
    torch.testing.assert_close(small.logprobs, few.logprobs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("layout", ["transcript", "window"])
def test_every_step_is_scored_behind_its_own_hindsight(layout: str) -> None:
    """As behind the one block that tells this step's to all; without any, as in its own context."""
    policy = tiny("float64")
    batch = batch_for(policy, layout)
    scorer = Scorer(policy, tokens_per_pass=300)
    got, alone = batch_logprobs(scorer, batch, PER_STEP), batch_logprobs(scorer, batch)
    for step in range(batch.num_steps):
        episode, index = int(batch.steps.episode_of_step[step]), int(batch.steps.index_in_episode[step])
        block = PER_STEP[episode]
        told = block.get(index, ()) if isinstance(block, dict) else block
        same = batch_logprobs(scorer, batch, [told] * batch.num_episodes)
        mask = batch.tokens.step_of_token == step
        torch.testing.assert_close(got[mask], same[mask], atol=1e-9, rtol=0)
        assert torch.allclose(got[mask], alone[mask], atol=1e-9, rtol=0) == (not told)


@pytest.mark.parametrize("layout", ["transcript", "window"])
def test_hindsight_that_tells_nothing_is_none(layout: str) -> None:
    """Equal numbers, in either form of nothing."""
    policy = tiny()
    batch = batch_for(policy, layout)
    expected = batch_logprobs(Scorer(policy), batch)
    nothings: list[Block] = [{}, []]
    for nothing in nothings:
        blocks = [nothing] * batch.num_episodes
        assert torch.equal(batch_logprobs(Scorer(policy), batch, blocks), expected)


def test_distributions_stand_at_their_tokens_where_steps_differ() -> None:
    """With and without hindsight in one row, and none mistaken for another."""
    policy = tiny("float64")
    batch = batch_for(policy)
    scorer = Scorer(policy, tokens_per_pass=4096)
    every = batch_topk(scorer, batch, 0, PER_STEP)
    dense = torch.zeros_like(every.logprobs).scatter(1, every.ids, every.logprobs)
    picked = dense.gather(1, batch.tokens.input_ids[batch.action_mask][:, None])[:, 0]
    expected = batch_logprobs(scorer, batch, PER_STEP)[batch.action_mask]
    torch.testing.assert_close(picked.float(), expected.float(), atol=1e-5, rtol=0)


def test_hindsight_of_single_steps_has_no_prefix() -> None:
    """The position says so."""
    policy = tiny()
    with pytest.raises(ValueError, match="has no one prefix: give position inline"):
        batch_logprobs(Scorer(policy), batch_for(policy), PER_STEP, "prefix")


def gradient(policy: Policy, batch: Batch, credit_: Credit, **settings: Any) -> dict[str, torch.Tensor]:
    """Of one update that moves nothing."""
    learner = Learner(policy, lr=0.0, weight_decay=0.0, max_grad_norm=1e9, kl_coef=0.0, **settings)
    found = gradients_of(*learner.optimizers)
    learner.update(batch, credit_)
    return {name: found[p] for name, p in policy.model.named_parameters() if p in found}


def informed_batch(policy: Policy, layout: str = "transcript", top_k: int = 0) -> Batch:
    """A batch with the distributions of an inline teacher."""
    batch = batch_for(policy, layout)
    informed = torch.tensor([bool(block) for block in BLOCKS])
    return batch.with_columns(teacher_topk=likely(policy, batch, "inline", top_k), informed=informed)


@pytest.mark.parametrize("name", ["opsd", "sdpo"])
def test_distribution_loss_has_the_gradient_of_the_divergence_itself(name: str) -> None:
    """Written out over whole rows, without micro-batches, terms or places."""
    policy = tiny("float64")
    batch = informed_batch(policy)
    got = gradient(policy, batch, credit.make(name)(batch))
    assert batch.teacher_topk is not None and batch.episodes.informed is not None
    mask = batch.action_mask
    student = policy.model(input_ids=batch.tokens.input_ids).logits[:, :-1].log_softmax(-1)[mask[:, 1:]]
    teacher = torch.zeros_like(student).scatter(
        1, batch.teacher_topk.ids, batch.teacher_topk.logprobs.to(student.dtype)
    )
    middle = (0.5 * student.exp() + 0.5 * teacher.exp()).log()
    halves = [(one.exp() * (one - middle)).sum(1) for one in (teacher, student)]
    chosen = torch.ones(len(student), dtype=torch.bool)
    if name == "sdpo":
        episode = batch.steps.episode_of_step[batch.tokens.step_of_token[mask]]
        chosen = batch.episodes.informed[episode]
    policy.model.zero_grad()
    (0.5 * (halves[0] + halves[1]))[chosen].mean().backward()
    for parameter_name, parameter in policy.model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(got[parameter_name], parameter.grad, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("top_k", [0, 5])
def test_distribution_loss_is_the_same_in_micro_batches_and_in_both_layouts(top_k: int) -> None:
    """Places follow the tokens wherever rows are cut."""
    policy = tiny("float64")
    batch, window = informed_batch(policy, top_k=top_k), informed_batch(policy, "window", top_k)
    opsd = credit.make("opsd")
    whole = gradient(policy, batch, opsd(batch), tokens_per_micro_batch=100_000)
    single = gradient(policy, batch, opsd(batch), tokens_per_micro_batch=1)
    rows = gradient(policy, window, opsd(window))
    for name in whole:
        torch.testing.assert_close(whole[name], single[name], atol=1e-8, rtol=1e-6)
        torch.testing.assert_close(whole[name], rows[name], atol=1e-7, rtol=1e-5)


def test_learning_from_the_teachers_distributions_brings_the_student_nearer() -> None:
    """A few updates; the value of the loss is logged under the term's name."""
    policy = tiny()
    teacher = tiny(seed=1)
    batch = batch_for(policy)
    batch = batch.with_columns(teacher_topk=likely(teacher, batch, "inline", 20))
    learner = Learner(policy, lr=1e-2, kl_coef=0.0)
    values = [learner.update(batch, credit.make("opsd")(batch))["term_distillation"] for _ in range(5)]
    assert values[-1] < 0.7 * values[0]


def test_learner_says_what_a_distribution_loss_lacks() -> None:
    """The credit was made from another batch than the update's."""
    policy = tiny()
    batch = informed_batch(policy)
    with pytest.raises(ValueError, match="the loss 'distillation' needs teacher_topk in the batch"):
        Learner(policy, kl_coef=0.0).update(replace(batch, teacher_topk=None), credit.make("opsd")(batch))


def test_batch_refuses_distributions_of_another_batch() -> None:
    """One place per action token; ids and numbers alike."""
    batch = batch_for(tiny())
    with pytest.raises(ValueError, match="teacher_topk has 2 places for"):
        replace(batch, teacher_topk=TopK(torch.tensor([[0], [1]]), torch.zeros(2, 1)))
    with pytest.raises(ValueError, match="must be int64"):
        TopK(torch.zeros(2, 1), torch.zeros(2, 1))


def test_losses_of_distributions_refuse_a_beta_that_cannot_be() -> None:
    """Beyond both divergences there is none."""
    student = torch.zeros(1, 2).log_softmax(1)
    with pytest.raises(ValueError, match=r"beta is 1\.5"):
        distillation.distribution_jsd(torch.zeros(1), student, torch.tensor([[0, 1]]), student, beta=1.5)


@pytest.mark.samples
def test_a_run_tells_whose_teacher_was_informed() -> None:
    """With peers alone those who are shown one; with outcomes everybody; without hindsight nobody."""
    policy = taught()
    for mode in ("peer", "correctness", "none", "next_observation"):
        one = Trainer(run_config(hindsight={"mode": mode}), credit.make("sdpo"), policy)
        chosen = one.chosen(one.collect())
        peers = [peer is not None for peer in choose_peers(chosen)]
        assert set(peers) == {True, False}
        informed = one.score(chosen).episodes.informed
        assert informed is not None
        assert informed.tolist() == {"peer": peers}.get(mode, [mode != "none"] * len(chosen))


@pytest.mark.samples
@pytest.mark.parametrize("name", ["step_opsd", "rlsd", "sdar", "skill_sd", "opsd", "sdpo"])
def test_methods_take_a_teacher_that_reads_the_next_observation(name: str) -> None:
    """An update is made, with another teacher than the student; answers tell every step something."""
    one = Trainer(run_config(hindsight={"mode": "next_observation"}), credit.make(name), taught())
    _, metrics, _ = one.step()
    assert all(math.isfinite(value) for value in metrics.values())
    assert name not in ("step_opsd", "rlsd") or metrics["signal/gap_act"] > 0
