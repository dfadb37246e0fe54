"""Drawing one token from a distribution, whole or cut."""

import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.batch import collate
from stepopsd_agent.hindsight.teacher_logprobs import plain_logprobs
from stepopsd_agent.models.prompt_format import make_format
from stepopsd_agent.rollout.sampling import Drawing, choose, cut, noise
from stepopsd_agent.run.trainer import Trainer
from tests.helpers.runs import run_config, taught

SHARES = torch.tensor([[0.05, 0.4, 0.25, 0.1, 0.2]])
EVENLY = torch.arange(1000).double() / 1000


def drawn(drawing: Drawing) -> tuple[list[int], torch.Tensor]:
    """How often each token of `SHARES` comes out of evenly spread noise, and the log-probability of each."""
    ids, logprobs = choose(torch.log(SHARES).expand(1000, 5), EVENLY, drawing)
    found = torch.full((5,), -torch.inf)
    found[ids] = logprobs
    return torch.bincount(ids, minlength=5).tolist(), found


@pytest.mark.parametrize(
    ("drawing", "shares"),
    [
        (Drawing(), [0.05, 0.4, 0.25, 0.1, 0.2]),
        (Drawing(top_k=2), [0, 0.4 / 0.65, 0.25 / 0.65, 0, 0]),
        (Drawing(top_p=0.6), [0, 0.4 / 0.65, 0.25 / 0.65, 0, 0]),  # 0.4 is too little, 0.65 enough
        (Drawing(top_p=0.7), [0, 0.4 / 0.85, 0.25 / 0.85, 0, 0.2 / 0.85]),
        (Drawing(top_k=2, top_p=0.6), [0, 1.0, 0, 0, 0]),  # 0.4 of the 0.65 left is more than 0.6
        (Drawing(top_k=9), [0.05, 0.4, 0.25, 0.1, 0.2]),
        (Drawing(top_p=1e-9), [0, 1.0, 0, 0, 0]),
    ],
)
def test_choose_follows_the_distribution(drawing: Drawing, shares: list[float]) -> None:
    """Each token gets its share, and its log-probability is the logarithm of that."""
    counts, logprobs = drawn(drawing)
    assert counts == pytest.approx([1000 * share for share in shares], abs=1.01)
    torch.testing.assert_close(logprobs.exp(), torch.tensor(shares))


def test_choose_divides_by_the_temperature_before_it_cuts() -> None:
    """At temperature 0.5 shares are squared: 0.16 of 0.2750 is less than 0.6, with 0.0625 it is enough."""
    counts, _ = drawn(Drawing(temperature=0.5, top_p=0.6))
    assert counts == pytest.approx([0, 1000 * 0.16 / 0.2225, 1000 * 0.0625 / 0.2225, 0, 0], abs=1.01)


def test_choose_temperature_zero_takes_the_likeliest() -> None:
    """Noise plays no part, nor do cuts in its log-probability."""
    ids, logprobs = choose(torch.log(SHARES), torch.tensor([0.999]).double(), Drawing(0.0, top_k=1))
    assert ids.tolist() == [1]
    torch.testing.assert_close(logprobs.exp(), torch.tensor([0.4]))


def test_choose_never_leads_beyond_the_last_token_allowed() -> None:
    """Not even noise that rounds up to 1: the tokens behind it are cut."""
    logits = torch.tensor([[3.0, 2.0, 1.0, -9.0]]).expand(400, 4)
    ids, _ = choose(logits, torch.full((400,), 1 - 2.0**-53, dtype=torch.float64), Drawing(top_k=2))
    assert set(ids.tolist()) == {1}


def test_cut_keeps_equals_of_the_last_token() -> None:
    """Which of several equal tokens stay does not depend on how they are sorted."""
    equal = torch.tensor([[1.0, 2.0, 1.0, 1.0, 0.0]])
    assert cut(equal, 2, 1.0).isfinite().tolist() == [[True, True, True, True, False]]
    assert cut(equal, 0, 0.5).isfinite().tolist() == [[True, True, True, True, False]]


@pytest.mark.parametrize("wrong", [{"temperature": -1.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_drawing_refuses_what_is_no_distribution(wrong: dict[str, float]) -> None:
    """The message says what is allowed."""
    with pytest.raises(ValueError, match="0 < top_p <= 1"):
        Drawing(**wrong)  # type: ignore[arg-type]


def test_train_compares_uncut_distributions_where_sampling_cut() -> None:
    """Old log-probabilities are scored anew: ratios begin at 1. Recorded ones are larger by what was cut."""
    policy = taught()
    config = run_config(rollout={"top_k": 4, "stop": ["1"]}, learner={"kl_coef": 0.0})
    one = Trainer(config, credit.make("grpo"), policy, make_format(policy, "off", "", False))
    episodes = one.collect()
    recorded, batch = collate(episodes, policy.pad_id), one.score(episodes)
    whole = plain_logprobs(policy, batch, tokens_per_pass=4096)
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
