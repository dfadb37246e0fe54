"""Behaviour cloning: what is cloned, what is not, and that it works."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from stepopsd_agent.config import HindsightConfig, WarmstartConfig
from stepopsd_agent.learner import Example, clone, clone_loss, examples
from stepopsd_agent.learner.cloning import make_batches
from stepopsd_agent.models import Policy
from stepopsd_agent.models.packed import Tree
from stepopsd_agent.rollout import Demonstration, demonstrate
from stepopsd_agent.tasks import make_stack, task_ids
from tests.helpers.runs import fresh, run_config

INLINE = HindsightConfig(position="inline", max_peer_tokens=48)
PREFIX = HindsightConfig(position="prefix", max_peer_tokens=48)
NONE = HindsightConfig(mode="none")


@pytest.fixture(scope="module")
def demos() -> list[Demonstration]:
    """Eight episodes of an expert that errs often, on games in which there is something to find."""
    env = make_stack(run_config(env={"step_limit": 30, "num_games": 8}).env)
    return demonstrate(env, task_ids(env), mistake_rate=0.3, seed=0)


@pytest.fixture(scope="module")
def policy(demos: list[Demonstration]) -> Policy:
    """A fresh model."""
    return fresh(demos)


def made(
    demonstration: Demonstration, policy: Policy, hindsight: HindsightConfig = NONE, **settings: Any
) -> list[Example]:
    """The rows of one demonstration."""
    config = WarmstartConfig(**settings)
    return examples(demonstration, policy, config, hindsight, np.random.default_rng(0))


def text(policy: Policy, ids: Sequence[int]) -> str:
    """The ids spelled out, ends of commands included."""
    return str(policy.tokenizer.decode(list(ids)))


def spelled(policy: Policy, example: Example, weight: float) -> str:
    """The trunk tokens of a weight, as text."""
    pairs = zip(example.tree.trunk, example.weights, strict=True)
    return text(policy, [token for token, w in pairs if w == weight])


def test_demonstrations_hold_mistakes_and_labels(demos: list[Demonstration]) -> None:
    """The expert errs, what it should have done is noted, and what a reader of the peer would do."""
    turns = [turn for one in demos for turn in one.turns]
    assert any(turn.command != turn.label for turn in turns)
    assert any(turn.command == turn.label for turn in turns)
    assert all(one.peer is not None and one.peer.success for one in demos)
    assert all(one.episode.task_id == one.peer.task_id for one in demos if one.peer)


def test_examples_clone_the_expert_s_labels_and_nothing_else(
    demos: list[Demonstration], policy: Policy
) -> None:
    """Weight 1 on commands that are labels, with their end; 0 on mistakes; the rest is the environment's."""
    for one in demos:
        (example,) = made(one, policy, observation_weight=0.25)
        right = [turn.command for turn in one.turns if turn.command == turn.label]
        wrong = [turn.command for turn in one.turns if turn.command != turn.label]
        assert spelled(policy, example, 1.0) == "".join(f"{command}<|end|>" for command in right)
        first = text(policy, example.tree.trunk[:1])  # nothing stands before it
        assert spelled(policy, example, 0.0) == first + "".join(f"{c}<|end|>" for c in wrong)
        read = one.turns[-1].prompt
        for turn in one.turns[:-1]:
            read = read.replace(f"> {turn.command}\n", "> \n", 1)
        assert spelled(policy, example, 0.25) == read.removeprefix(first)


def test_examples_trunk_is_the_row_that_training_will_see(demos: list[Demonstration], policy: Policy) -> None:
    """The transcript with every command ended, in the pieces in which the rollout feeds it."""
    one = demos[0]
    (example,) = made(one, policy)
    ids = policy.prompt_format.first_ids(one.turns[0].prompt)
    for turn, following in zip(one.turns, [*one.turns[1:], None], strict=True):
        ids += policy.prompt_format.response_ids(turn.command)
        if following is not None:
            ids += policy.prompt_format.turn_ids(
                following.prompt.removeprefix(turn.prompt + turn.command), closed=True
            )
    assert list(example.tree.trunk) == ids


def test_examples_without_hindsight_have_no_branches(demos: list[Demonstration], policy: Policy) -> None:
    """Nor with no steps chosen."""
    assert made(demos[0], policy)[0].tree.branches == ()
    assert made(demos[0], policy, INLINE, hindsight_steps=0)[0].tree.branches == ()


def test_examples_inline_branch_holds_what_a_reader_of_the_peer_does(
    demos: list[Demonstration], policy: Policy
) -> None:
    """Block, then the informed label (with a peer) or the label (without); it hangs where the step began."""
    seen = set()
    for one in demos:
        (example,) = made(one, policy, INLINE, hindsight_steps=99)
        assert len(example.tree.branches) == len(one.turns)
        for branch, turn in zip(sorted(example.tree.branches, key=lambda b: b.at), one.turns, strict=True):
            block, target = text(policy, branch.block), text(policy, branch.target)
            assert block.startswith("<hindsight>\n") and block.endswith("</hindsight>\n")
            with_peer = "<peer>" in block
            assert ("failure" in block) == with_peer or not one.episode.success
            assert target == f"{turn.informed if with_peer else turn.label}<|end|>"
            context = text(policy, example.tree.trunk[: branch.at])
            assert context.replace("<|end|>", "") == turn.prompt
            seen.add((with_peer, turn.informed != turn.label))
    assert seen >= {(True, True), (True, False), (False, False)}


def test_examples_prefix_block_follows_the_first_prompt_of_informed_demonstrations() -> None:
    """It is not cloned itself; the commands behind it are those of an expert that knows the peer."""
    env = make_stack(run_config(env={"step_limit": 30}).env)
    plain, informed = demonstrate(env, [task_ids(env)[0]], 0.0, 0, informed_share=1.0)
    assert (plain.informed, informed.informed) == (False, True)
    assert len(informed.turns) <= len(plain.turns)
    policy = fresh([plain, informed])
    (row,) = made(informed, policy, PREFIX)
    first = len(policy.prompt_format.first_ids(informed.turns[0].prompt))
    end = next(t for t, weight in enumerate(row.weights) if weight == 1.0)
    block = text(policy, row.tree.trunk[first:end])
    assert block.startswith("<hindsight>\n") and "<peer>" in block and block.endswith("</hindsight>\n")
    assert set(row.weights[first:end]) == {0.0}
    commands = "".join(f"{turn.informed}<|end|>" for turn in informed.turns)
    assert spelled(policy, row, 1.0) == commands
    assert "<hindsight>" not in text(policy, made(plain, policy, PREFIX)[0].tree.trunk)


def test_examples_in_the_window_layout_are_a_row_per_step() -> None:
    """Each with its own prompt and one command."""
    env = make_stack(run_config(env={"layout": "window", "step_limit": 30}).env)
    (one,) = demonstrate(env, [task_ids(env)[0]], 0.0, 0)
    policy = fresh([one])
    rows = made(one, policy)
    assert len(rows) == len(one.turns)
    for row, turn in zip(rows, one.turns, strict=True):
        assert text(policy, row.tree.trunk) == f"{turn.prompt}{turn.label}<|end|>"


def test_clone_loss_is_the_weighted_mean_cross_entropy(demos: list[Demonstration], policy: Policy) -> None:
    """Cross-entropy of trunk tokens by their weights, branch targets by 1, each in its own context."""
    (example,) = made(demos[0], policy, INLINE, hindsight_steps=2, observation_weight=0.25)
    total = weight = 0.0
    contexts = [
        (example.tree.trunk[:t], example.tree.trunk[t : t + 1], w) for t, w in enumerate(example.weights)
    ]
    contexts += [(example.tree.trunk[: b.at] + b.block, b.target, 1.0) for b in example.tree.branches]
    for context, target, w in contexts:
        if w:
            row = torch.tensor([context + target])
            select = torch.zeros_like(row, dtype=torch.bool)
            select[0, len(context) :] = True
            with torch.inference_mode():
                total -= w * float(policy.token_logprobs(row, select).sum())
            weight += w * len(target)
    with torch.inference_mode():
        assert float(clone_loss(policy, [example])) == pytest.approx(total / weight, rel=1e-4)


@pytest.mark.parametrize("muon_lr", [0.0, 0.02])
def test_clone_brings_the_loss_down(muon_lr: float, demos: list[Demonstration]) -> None:
    """A handful of demonstrations, several times over; equal seeds give equal losses."""
    config = WarmstartConfig(passes=20, batch_rows=4, lr=1e-2, muon_lr=muon_lr)

    def losses() -> list[float]:
        policy = fresh(demos)
        data = [e for one in demos for e in examples(one, policy, config, INLINE, np.random.default_rng(0))]
        steps: list[int] = []
        out = clone(policy, data, config, 0, on_step=lambda step, loss: steps.append(step))
        assert steps == list(range(40))  # 8 rows, 20 times, by 4
        return out

    first = losses()
    assert first[-1] < 0.7 * first[0]
    assert losses() == first


@pytest.mark.parametrize("rows", [3, 4, 64])
def test_clone_batches_hold_every_row_once_a_pass_and_little_padding(rows: int) -> None:
    """Nothing is left out or seen twice in a pass; neighbours in length share a batch."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(50, 500, 101).tolist()
    batches = make_batches(lengths, rows, 2, rng)
    assert len(batches) == 2 * -(-101 // rows)
    for half in (batches[: len(batches) // 2], batches[len(batches) // 2 :]):
        assert sorted(int(i) for batch in half for i in batch) == list(range(101))
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    assert padded < (1.15 if rows < 64 else 2) * 2 * sum(lengths)


def test_examples_know_which_tokens_are_mistakes(demos: list[Demonstration], policy: Policy) -> None:
    """The wrong commands with their ends, all of weight 0."""
    for one in demos:
        (example,) = made(one, policy)
        wrong = [turn.command for turn in one.turns if turn.command != turn.label]
        marked = [example.tree.trunk[column] for column in example.mistakes]
        assert text(policy, marked) == "".join(f"{command}<|end|>" for command in wrong)
        assert not any(example.weights[column] for column in example.mistakes)


def test_clone_loss_imitates_mistakes_only_when_told_to(demos: list[Demonstration], policy: Policy) -> None:
    """Then the mistakes' tokens weigh 1 like any other command's."""
    example = next(made(d, policy)[0] for d in demos if any(turn.command != turn.label for turn in d.turns))
    weights = list(example.weights)
    for column in example.mistakes:
        weights[column] = 1.0
    told = clone_loss(policy, [example], mistakes=True)
    assert torch.equal(told, clone_loss(policy, [Example(example.tree, tuple(weights))]))
    assert not torch.equal(told, clone_loss(policy, [example]))


def test_clone_goes_on_where_a_batch_has_nothing_to_imitate(policy: Policy) -> None:
    """A window that ends in a mistake may be alone in its batch; observations need not weigh anything."""
    mistake = Example(Tree((1, 2, 3), scored=(1, 2)), (0.0, 0.0, 0.0), (2,))
    config = WarmstartConfig(observation_weight=0.0, muon_lr=0.0)
    assert clone(policy, [mistake], config, seed=0) == [0.0]


def test_clone_imitates_mistakes_in_the_last_passes_alone(demos: list[Demonstration], policy: Policy) -> None:
    """The first pass is the same with and without a second that imitates mistakes."""
    data = [row for d in demos[:4] for row in made(d, policy)]
    state, losses = policy.state(), []
    for passes in (0, 0.5, 1, 2):
        policy.load_state(state)
        config = WarmstartConfig(passes=2, batch_rows=2, mistake_passes=passes)
        losses.append(clone(policy, data, config, 0))
    policy.load_state(state)
    never, half, last, both = losses
    assert never[:2] == last[:2] != both[:2]
    assert never[2:] != last[2:]
    assert never[:3] == half[:3] and never[3:] != half[3:]


def test_clone_imitates_a_novice_last_and_whole(demos: list[Demonstration], policy: Policy) -> None:
    """What comes before is the same without a novice; then its mistakes weigh as much as the rest."""
    data, last = ([row for d in part for row in made(d, policy)] for part in (demos[:4], demos[4:6]))
    assert any(example.mistakes for example in last)
    state, losses = policy.state(), []
    config = WarmstartConfig(passes=2, batch_rows=2, muon_lr=0.0, lr=0.0)
    for shown in ((), last):
        policy.load_state(state)
        losses.append(clone(policy, data, config, 0, last=shown))
    alone, followed = losses
    assert len(followed) == len(alone) + 1 and followed[:-1] == alone
    whole = clone_loss(policy, last, mistakes=True).item()
    assert followed[-1] == pytest.approx(whole, rel=1e-5)
    policy.load_state(state)


def test_demonstrations_with_tags_think_before_they_act() -> None:
    """Where responses are tagged, the expert's thought stands before its command, and the game is won."""
    env = make_stack(run_config(env={"step_limit": 30, "num_games": 1, "response": "tags"}).env)
    (one,) = demonstrate(env, task_ids(env), mistake_rate=0.0, seed=0)
    assert one.episode.success
    assert all(turn.command.startswith("<think>") for turn in one.turns)
    assert all("</think><action>" in turn.command for turn in one.turns)
    assert all(step.action and "<" not in step.action for step in one.episode.steps[1:])


def test_clone_ends_at_a_gradient_that_is_not_finite(demos: list[Demonstration]) -> None:
    """Before it spoils the weights, which would be saved as a model."""
    fresh_policy = fresh(demos)
    data = made(demos[0], fresh_policy)
    with torch.no_grad():
        next(iter(fresh_policy.model.parameters())).fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=r"step 1 of .*Lower warmstart\.lr"):
        clone(fresh_policy, data, WarmstartConfig(), seed=0)


def test_clone_moves_half_precision_weights_by_small_rates(demos: list[Demonstration]) -> None:
    """Fifty steps at 1e-5, most of them smaller than bfloat16 can tell: without copies few weights moved."""
    policy = fresh(demos, "bfloat16")
    rows = [row for demonstration in demos for row in made(demonstration, policy)]
    before = policy.state()
    config = WarmstartConfig(passes=50, batch_rows=len(rows), lr=1e-5, muon_lr=0.0)
    clone(policy, rows, config, seed=0)
    moved = [float((policy.state()[name] != weight).double().mean()) for name, weight in before.items()]
    assert sum(moved) / len(moved) > 0.5
