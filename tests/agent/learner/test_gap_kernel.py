"""A gap between teacher and student is hindsight alone: both are scored alike; logits are float32."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import torch

from stepopsd_agent.batch import Batch, collate
from stepopsd_agent.config import HindsightConfig
from stepopsd_agent.learner import fill
from stepopsd_agent.models import Policy, Scorer
from stepopsd_agent.models.packed import likeliest, sampled, wide_logits
from stepopsd_agent.rollout import KeyValueCache
from stepopsd_wrappers import Episode
from tests.agent.learner.test_columns import played
from tests.helpers.models import DType, tiny

GAP = {"student_logprobs", "teacher_logprobs"}
pytestmark = pytest.mark.samples


@contextmanager
def counted(policy: Policy) -> Iterator[list[int]]:
    """The tokens of every forward pass."""
    sizes: list[int] = []
    embedding = policy.model.get_input_embeddings()
    hook = embedding.register_forward_pre_hook(lambda module, given: sizes.append(given[0].numel()))
    try:
        yield sizes
    finally:
        hook.remove()


def gap(batch: Batch) -> torch.Tensor:
    """[N, T] teacher minus student."""
    teacher, student = batch.tokens.teacher_logprobs, batch.tokens.student_logprobs
    assert teacher is not None and student is not None
    return teacher - student


@cache
def recorded(dtype: DType, layout: str) -> tuple[Policy, list[Episode]]:
    """A policy and attempts that it played."""
    policy = tiny(dtype)
    return policy, played(policy, layout=layout)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("layout", ["transcript", "window"])
@pytest.mark.parametrize(("stale", "rescore_old"), [(False, False), (True, False), (True, True)])
def test_empty_hindsight_gives_a_gap_of_zero(
    dtype: DType, layout: str, stale: bool, rescore_old: bool
) -> None:
    """Exactly, with the policy's own weights and with a copy of them."""
    policy, episodes = recorded(dtype, layout)
    batch = fill(
        collate(episodes),
        episodes,
        GAP,
        policy,
        scorer=Scorer(policy, tokens_per_pass=500),
        hindsight=HindsightConfig(mode="none"),
        teacher=policy.state() if stale else None,
        rescore_old=rescore_old,
    )
    assert float(gap(batch).abs().max()) == 0
    student = batch.tokens.student_logprobs
    assert student is not None and bool((student[batch.action_mask] < 0).all())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("layout", "position", "attention"),
    [("transcript", "inline", "segments"), ("window", "inline", "padded"), ("window", "prefix", "segments")],
)
def test_episodes_that_are_told_nothing_have_no_gap_beside_others(
    dtype: DType, layout: str, position: Any, attention: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some episodes have a block, and the passes of the others do not depend on that."""
    policy, episodes = recorded(dtype, layout)
    blocks = [[5, 6, 7], [], [8, 9]]
    monkeypatch.setattr("stepopsd_agent.learner.columns.hindsight_blocks", lambda *given: blocks)
    batch = fill(
        collate(episodes),
        episodes,
        GAP,
        policy,
        scorer=Scorer(policy, tokens_per_pass=700, attention=attention),
        hindsight=HindsightConfig(position=position),
        teacher=policy.state(),
    )
    owner = batch.steps.episode_of_step[batch.tokens.step_of_token.clamp_min(0)]
    found = gap(batch)
    assert float(found[batch.action_mask & (owner == 1)].abs().max()) == 0
    assert float(found[batch.action_mask & (owner != 1)].abs().max()) > 0


def test_nothing_more_is_scored_without_a_gap() -> None:
    """The student alone costs no pass; beside a teacher one over the rows, which `rescore_old` shares."""
    policy, episodes = recorded("float32", "transcript")
    batch, quiet = collate(episodes), HindsightConfig(mode="none")

    def tokens(needs: set[str], rescore_old: bool) -> int:
        with counted(policy) as sizes:
            fill(batch, episodes, needs, policy, hindsight=quiet, rescore_old=rescore_old)
        return sum(sizes)

    rows = tokens(set(), True)
    assert rows > 0
    assert tokens({"student_logprobs"}, False) == 0
    assert tokens({"teacher_logprobs"}, False) == rows
    assert tokens(GAP, False) == tokens(GAP, True) == 2 * rows


def test_recorded_log_probabilities_stay_those_of_play() -> None:
    """The student beside a teacher does not replace the policy that sampled."""
    policy, episodes = recorded("bfloat16", "transcript")
    batch = collate(episodes)
    done = fill(batch, episodes, GAP, policy, hindsight=HindsightConfig(mode="none"))
    assert torch.equal(done.tokens.old_logprobs, batch.tokens.old_logprobs)


def exact(policy: Policy, hidden: torch.Tensor) -> torch.Tensor:
    """Log-probabilities at these states with the policy's own weights, computed in float64."""
    head = policy.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    return torch.log_softmax(hidden.double() @ head.weight.double().t(), -1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_output_layer_of_half_precision_is_float32(dtype: torch.dtype) -> None:
    """In scoring, for sampled tokens and whole distributions, with a bias, and in play."""
    policy = tiny()
    torch.nn.Module.to(policy.model, dtype)
    head = policy.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    with torch.inference_mode():
        head.weight.mul_(20)  # logits of the size that real models have: rounding them shows
        hidden = torch.randn(40, 32, generator=torch.Generator().manual_seed(0)).to(dtype)
        expected = exact(policy, hidden)
        ids = torch.arange(40)
        (some,) = policy.read_out(hidden, sampled(ids), 1.0)
        _, every = policy.read_out(hidden, likeliest(0), 1.0)
        mask, cache = torch.ones(1, 1, 9, 9, dtype=torch.bool).tril(), KeyValueCache()
        row, positions = torch.arange(1, 10)[None], torch.arange(9)[None]
        logits = policy.padded_logits(row, positions, mask, cache)
        last = policy.read(row, positions, mask, KeyValueCache())
        biased = torch.nn.Linear(32, 7, dtype=dtype)
        product = biased.weight.double() @ hidden.double().t()
        torch.testing.assert_close(
            wide_logits(biased, hidden).double(), product.t() + biased.bias.double(), atol=1e-5, rtol=0
        )
    assert some.dtype == every.dtype == logits.dtype == torch.float32
    torch.testing.assert_close(some.double(), expected[ids, ids], atol=1e-4, rtol=0)
    torch.testing.assert_close(every.double(), expected.sort(descending=True).values, atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.log_softmax(logits, -1).double(), exact(policy, last), atol=1e-4, rtol=0)


def test_gradient_through_the_float32_product_is_that_of_the_layer() -> None:
    """Of states and weights, against the output layer in half precision and, within rounding, float64."""
    head = torch.nn.Linear(16, 30, bias=False, dtype=torch.bfloat16)
    states = torch.randn(12, 16, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    found = []
    for wide in (True, False):
        hidden = states.clone().requires_grad_()
        head.zero_grad()
        logits = wide_logits(head, hidden) if wide else head(hidden).float()
        torch.log_softmax(logits, -1)[:, 3].sum().backward()  # type: ignore[no-untyped-call]
        assert hidden.grad is not None and head.weight.grad is not None
        found.append((hidden.grad.clone(), head.weight.grad.clone()))
    for ours, plain in zip(*found, strict=True):
        assert ours.dtype == torch.bfloat16
        torch.testing.assert_close(ours, plain, atol=0.02, rtol=0.02)


def test_adapter_on_the_output_layer_is_float32_too() -> None:
    """A low-rank adapter wraps the layer; its logits are not rounded either."""
    peft = pytest.importorskip("peft", reason="needs the extra lora")
    base = torch.nn.Linear(16, 30, bias=False, dtype=torch.bfloat16)
    wrapped = peft.tuners.lora.Linear(base, "default", peft.LoraConfig(r=2), r=2)
    hidden = torch.randn(12, 16).to(torch.bfloat16)
    with torch.inference_mode():
        logits = wide_logits(wrapped, hidden)
    expected = hidden.double() @ base.weight.double().t()  # the adapter adds nothing at first
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits.double(), expected, atol=1e-5, rtol=0)
