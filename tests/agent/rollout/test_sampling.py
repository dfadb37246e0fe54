"""Sampling a response: one token from a distribution, whole or cut; where it ends; its noise."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from benchmarks.archives import unpack
from stepopsd_agent import credit
from stepopsd_agent.batch import collate
from stepopsd_agent.hindsight import batch_logprobs
from stepopsd_agent.models import Policy, Scorer
from stepopsd_agent.models.prompt_format import make_format
from stepopsd_agent.rollout import SamplingParams, rollout
from stepopsd_agent.rollout.sampling import Stops, choose, cut, noise
from stepopsd_agent.run import Trainer
from tests.helpers.models import tiny
from tests.helpers.runs import run_config, taught

SHARES = torch.tensor([[0.05, 0.4, 0.25, 0.1, 0.2]])
EVENLY = torch.arange(1000).double() / 1000


def drawn(params: SamplingParams) -> tuple[list[int], torch.Tensor]:
    """How often each token of `SHARES` comes out of evenly spread noise, and the log-probability of each."""
    ids, logprobs = choose(torch.log(SHARES).expand(1000, 5), EVENLY, params)
    found = torch.full((5,), -torch.inf)
    found[ids] = logprobs
    return torch.bincount(ids, minlength=5).tolist(), found


@pytest.mark.parametrize(
    ("params", "shares"),
    [
        (SamplingParams(), [0.05, 0.4, 0.25, 0.1, 0.2]),
        (SamplingParams(top_k=2), [0, 0.4 / 0.65, 0.25 / 0.65, 0, 0]),
        (SamplingParams(top_p=0.6), [0, 0.4 / 0.65, 0.25 / 0.65, 0, 0]),  # 0.4 is too little, 0.65 enough
        (SamplingParams(top_p=0.7), [0, 0.4 / 0.85, 0.25 / 0.85, 0, 0.2 / 0.85]),
        (SamplingParams(top_k=2, top_p=0.6), [0, 1.0, 0, 0, 0]),  # 0.4 of the 0.65 left is more than 0.6
        (SamplingParams(top_k=9), [0.05, 0.4, 0.25, 0.1, 0.2]),
        (SamplingParams(top_p=1e-9), [0, 1.0, 0, 0, 0]),
    ],
)
def test_choose_follows_the_distribution(params: SamplingParams, shares: list[float]) -> None:
    """Each token gets its share, and its log-probability is the logarithm of that."""
    counts, logprobs = drawn(params)
    assert counts == pytest.approx([1000 * share for share in shares], abs=1.01)
    torch.testing.assert_close(logprobs.exp(), torch.tensor(shares))


def test_choose_divides_by_the_temperature_before_it_cuts() -> None:
    """At temperature 0.5 shares are squared: 0.16 of 0.2750 is less than 0.6, with 0.0625 it is enough."""
    counts, _ = drawn(SamplingParams(temperature=0.5, top_p=0.6))
    assert counts == pytest.approx([0, 1000 * 0.16 / 0.2225, 1000 * 0.0625 / 0.2225, 0, 0], abs=1.01)


def test_choose_temperature_zero_takes_the_likeliest() -> None:
    """Noise plays no part, nor do cuts in its log-probability."""
    ids, logprobs = choose(torch.log(SHARES), torch.tensor([0.999]).double(), SamplingParams(0.0, top_k=1))
    assert ids.tolist() == [1]
    torch.testing.assert_close(logprobs.exp(), torch.tensor([0.4]))


def test_choose_never_leads_beyond_the_last_token_allowed() -> None:
    """Not even noise that rounds up to 1: the tokens behind it are cut."""
    logits = torch.tensor([[3.0, 2.0, 1.0, -9.0]]).expand(400, 4)
    ids, _ = choose(logits, torch.full((400,), 1 - 2.0**-53, dtype=torch.float64), SamplingParams(top_k=2))
    assert set(ids.tolist()) == {1}


@pytest.mark.parametrize("size", [1, 100, 50_257])
def test_choose_inverts_the_cumulative_distribution_of_any_vocabulary(size: int) -> None:
    """Up to float32's rounding the share of noise lies in the token's own part, which is never empty."""
    generator = torch.Generator().manual_seed(size)
    logits = 3 * torch.randn(1, size, generator=generator).expand(2000, size)
    inner = torch.rand(1998, generator=generator, dtype=torch.float64)
    uniform = torch.cat([torch.tensor([0.0, 1 - 2.0**-53], dtype=torch.float64), inner])
    ends = torch.softmax(logits[0].double(), -1).cumsum(0)
    for params in (SamplingParams(), SamplingParams(top_k=40)):
        ids, logprobs = choose(logits, uniform, params)
        assert logprobs.isfinite().all() and 0 <= int(ids.min()) and int(ids.max()) < size
        if params.top_k == 0 or size == 1:
            assert (ends[ids] > uniform - 1e-6).all()
            assert (ends[ids] - torch.softmax(logits[0].double(), -1)[ids] < uniform + 1e-6).all()
        else:
            assert set(ids.tolist()) <= set(logits[0].topk(40).indices.tolist())


def test_cut_keeps_equals_of_the_last_token() -> None:
    """Which of several equal tokens stay does not depend on how they are sorted."""
    equal = torch.tensor([[1.0, 2.0, 1.0, 1.0, 0.0]])
    assert cut(equal, 2, 1.0).isfinite().tolist() == [[True, True, True, True, False]]
    assert cut(equal, 0, 0.5).isfinite().tolist() == [[True, True, True, True, False]]


@pytest.mark.parametrize("wrong", [{"temperature": -1.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_sampling_params_refuse_what_is_no_distribution(wrong: dict[str, float]) -> None:
    """The message says what is allowed."""
    with pytest.raises(ValueError, match="0 < top_p <= 1"):
        SamplingParams(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"max_tokens": 0}, {"max_tokens": 16, "max_row_tokens": 16}])
def test_sampling_params_refuse_lengths_without_room(wrong: dict[str, int]) -> None:
    """A response has a token, and a row a prompt before it."""
    with pytest.raises(ValueError, match="max_row_tokens above max_tokens"):
        SamplingParams(**wrong)  # type: ignore[arg-type]


def test_sampling_params_refuse_an_empty_stop_string() -> None:
    """It would end everything at once."""
    with pytest.raises(ValueError, match="stop string is empty"):
        SamplingParams(stop=("</a>", ""))


@pytest.mark.samples
def test_train_compares_uncut_distributions_where_sampling_cut() -> None:
    """Old log-probabilities are scored anew: ratios begin at 1. Recorded ones are larger by what was cut."""
    policy = taught()
    config = run_config(rollout={"top_k": 4, "stop": ["1"]}, learner={"kl_coef": 0.0})
    one = Trainer(config, credit.make("grpo"), policy)
    episodes = one.collect()
    recorded, batch = collate(episodes, policy.pad_id), one.score(episodes)
    whole = batch_logprobs(Scorer(policy, tokens_per_pass=4096), batch)
    torch.testing.assert_close(batch.tokens.old_logprobs, whole, atol=1e-6, rtol=0)
    assert (recorded.tokens.old_logprobs >= whole - 1e-5).all()
    assert (recorded.tokens.old_logprobs > whole + 1e-3).any()
    learned = one.learner.update(batch, one.assign(batch))
    assert learned["approx_kl"] == pytest.approx(0, abs=1e-5) and learned["clip_fraction"] == 0


def test_noise_is_keyed_by_every_argument() -> None:
    """Equal keys give equal noise, any other key different noise."""
    base = noise("s", "t", 0, 0, 4)
    assert (base == noise("s", "t", 0, 0, 4)).all()
    assert (base == noise("s", "t", 0, 0, 9)[:4]).all()
    for other in (
        noise("x", "t", 0, 0, 4),
        noise("s", "x", 0, 0, 4),
        noise("s", "t", 1, 0, 4),
        noise("s", "t", 0, 1, 4),
    ):
        assert (base != other).all()


def stopped_at(policy: Policy, text: str, *strings: str) -> str:
    """The part of a text up to the token that ends it; all of it where none does."""
    stops, ids = Stops(policy, strings), policy.encode([text])[0]
    end = next((k + 1 for k in range(len(ids)) if stops.after(ids[: k + 1])), len(ids))
    return policy.decode(ids[:end])


@pytest.mark.parametrize("text", ["I <b>go</b> home </b>", "</b>", "x</b></b>", "a </b"])
def test_stops_end_at_the_first_whole_string(text: str) -> None:
    """Neither before nor, but for what the same token shows, after it."""
    shown = stopped_at(tiny(), text, "</b>", "<never>")
    before, found, _ = text.partition("</b>")
    assert shown.startswith(before + found)
    assert not found or shown.count("</b>") == 1


def test_stops_take_end_tokens_without_any_string() -> None:
    """As generation does everywhere."""
    policy = tiny()
    stops, end = Stops(policy), min(policy.stop_ids)
    assert stops.after([5, end]) and not stops.after([end, 5])


@pytest.mark.parametrize("stop", ["</search>", "</answer>", "\u2192 naïve 🏠"])
def test_stops_work_with_a_real_tokenizer(test_data: Path, tmp_path: Path, stop: str) -> None:
    """Tokens of it join brackets with their neighbours, and split letters into bytes."""
    unpack(test_data / "tokenizers" / "qwen3.tar.xz", tmp_path)
    policy = tiny()
    policy.tokenizer = AutoTokenizer.from_pretrained(tmp_path / "qwen3")
    policy.prompt_format = make_format(policy.tokenizer, "off")
    for text in (f"<think>héllo</think>\n<search>who</search>{stop}\n\nmore", f"{stop}", f"a{stop}.b"):
        shown = stopped_at(policy, text, stop)
        before, found, _ = text.partition(stop)
        assert found and shown.startswith(before + found)
        assert len(shown) <= len(before + found) + 3


@pytest.mark.parametrize(
    "params", [SamplingParams(), SamplingParams(0.0), SamplingParams(top_k=2, top_p=0.5)]
)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_choose_refuses_logits_without_numbers(params: SamplingParams, value: float) -> None:
    """Of one row among others, or of one token; greedily, too, where such a token would be the likeliest."""
    for place in ((1,), (1, 3)):
        logits = torch.zeros(2, 5)
        logits[place] = value
        with pytest.raises(FloatingPointError, match=r"logits are not finite.*learner\.lr"):
            choose(logits, torch.tensor([0.1, 0.9]).double(), params)
    allowed = torch.tensor([[0.0, -torch.inf, 1.0, -torch.inf, -torch.inf]])
    assert int(choose(allowed, torch.tensor([0.5]).double(), params)[0]) in (0, 2)


@pytest.mark.parametrize("seed", [None, True, -1, 1.0, ("a", 1)])
def test_rollout_refuses_a_seed_that_names_no_noise(seed: Any) -> None:
    """Every value has a text that would do, but whoever passes these meant something else."""
    with pytest.raises(ValueError, match=r"seed is .*; give a whole number of at least 0, or a text"):
        rollout(tiny(), [], [], seed=seed)
    allowed: tuple[Any, ...] = (0, np.int64(3), "credit/train")
    for fine in allowed:
        assert rollout(tiny(), [], [], seed=fine) == []
