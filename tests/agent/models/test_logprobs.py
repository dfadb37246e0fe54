"""Log-probabilities a chunk of places at a time."""

import pytest
import torch
from torch import Tensor

from stepopsd_agent.config import Attention
from stepopsd_agent.hindsight import batch_logprobs
from stepopsd_agent.learner import Learner
from stepopsd_agent.models import Scorer
from stepopsd_agent.models.packed import likeliest, logprobs as output_layer, sampled
from stepopsd_agent.models.packed.logprobs import chunk_places, read_out
from tests.agent.learner.test_learner import batch_for, credit_for
from tests.helpers.models import tiny

HEAD = torch.nn.Linear(8, 500, bias=False, dtype=torch.float64)


def given(count: int) -> tuple[Tensor, Tensor]:
    """States that ask for gradients, and ids."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(count, 8, dtype=torch.float64, generator=generator, requires_grad=True)
    return hidden, torch.randint(0, 500, (count,), generator=generator)


def test_read_out_in_chunks_equals_all_at_once() -> None:
    """Values and both gradients; the last chunk is a smaller one."""
    grads = []
    for size in (1, 2**28):
        hidden, ids = given(200)
        HEAD.zero_grad()
        (logprobs,) = read_out(HEAD, hidden, sampled(ids), temperature=0.7, chunk_bytes=size)
        expected = torch.log_softmax(HEAD(hidden) / 0.7, -1).gather(1, ids[:, None])[:, 0]
        torch.testing.assert_close(logprobs, expected)
        logprobs.square().sum().backward()  # type: ignore[no-untyped-call]
        assert hidden.grad is not None and HEAD.weight.grad is not None
        grads.append((hidden.grad, HEAD.weight.grad.clone()))
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=0)


def test_read_out_keeps_no_logits_for_the_backward_pass() -> None:
    """Nothing that is saved is as large as the logits of one chunk, unless there is one chunk alone."""

    def largest(count: int) -> int:
        sizes = [0]

        def note(tensor: Tensor) -> Tensor:
            sizes.append(tensor.numel() if tensor.dim() == 2 and tensor.shape[1] == 500 else 0)
            return tensor

        hidden, ids = given(count)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            read_out(HEAD, hidden, sampled(ids), chunk_bytes=1)
        return max(sizes)

    assert largest(64) == 64 * 500
    assert largest(65) == largest(1000) == 0


@pytest.mark.parametrize("attention", ["segments", "padded"])
def test_logits_are_made_of_scored_places_alone_and_few_at_a_time(
    attention: Attention, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Student, teacher and update; the update makes them once more for its backward pass."""
    policy = tiny()
    batch = batch_for(policy, episodes=24)
    places, sizes = int(batch.action_mask.sum()), list[int]()
    assert 128 < places < int(batch.tokens.attention_mask.sum()) / 2
    monkeypatch.setattr(output_layer, "CHUNK_BYTES", 1)  # 64 places
    head = policy.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    head.register_forward_pre_hook(lambda layer, given: sizes.append(given[0].shape[:-1].numel()))
    scorer = Scorer(policy, tokens_per_pass=4096, attention=attention)
    batch_logprobs(scorer, batch)
    assert (sum(sizes), max(sizes)) == (places, 64)
    sizes.clear()
    blocks = [[5, 6, 7]] * batch.num_episodes
    batch_logprobs(scorer, batch, blocks, "inline")
    assert (sum(sizes), max(sizes)) == (places, 64)
    sizes.clear()
    learner = Learner(policy, kl_coef=0.0, attention=attention, tokens_per_micro_batch=4096)
    learner.update(batch, credit_for(batch))
    assert (sum(sizes), max(sizes)) == (2 * places, 64)


def test_read_out_of_no_place_is_empty() -> None:
    """A pass may select nothing."""
    hidden, ids = given(0)
    (logprobs,) = read_out(HEAD, hidden, sampled(ids))
    assert logprobs.shape == (0,)


@pytest.mark.parametrize("count", [3, 0, 10_000])
def test_likeliest_are_the_largest(count: int) -> None:
    """0, or more than there are, takes the whole vocabulary."""
    hidden, _ = given(70)
    ids, logprobs = read_out(HEAD, hidden, likeliest(count), chunk_bytes=1)
    every = torch.log_softmax(HEAD(hidden), -1)
    assert ids.shape == (70, 3 if count == 3 else 500)
    torch.testing.assert_close(logprobs, every.sort(1, descending=True).values[:, : ids.shape[1]])
    torch.testing.assert_close(every.gather(1, ids), logprobs)


def test_read_out_gives_float32_from_half_precision() -> None:
    """A float64 model stays float64."""
    head = torch.nn.Linear(8, 500, dtype=torch.bfloat16)
    hidden, ids = given(4)
    (logprobs,) = read_out(head, hidden.bfloat16(), sampled(ids))
    assert logprobs.dtype == torch.float32
    assert read_out(HEAD, hidden, sampled(ids))[0].dtype == torch.float64


def test_chunk_places_follow_the_vocabulary() -> None:
    """float32 logits: 4 bytes each; never fewer than 64 places."""
    assert chunk_places(HEAD, 4 * 500 * 100) == 100
    assert chunk_places(HEAD, 1) == 64
