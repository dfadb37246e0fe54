"""Credit shuffled within episodes: the same advantages at other steps, the same again after a resume."""

from collections.abc import Iterator

import pytest
import torch

from stepopsd_agent import ops
from stepopsd_agent.accuracy import entries
from stepopsd_agent.credit import registry
from tests.helpers.builders import build, by_step, random_attempts


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The file registers the control; here it is forgotten again."""
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    yield


@pytest.mark.parametrize("inner", ["path_gain", "path_gain,measure=commands,episode_weight=0"])
def test_each_episode_keeps_its_advantages_in_another_order(inner: str) -> None:
    """As many of each as before, on the same steps in a second call, and not all where they were."""
    from benchmarks.credit.shuffled import Shuffled

    batch = build(random_attempts(3, groups=3, size=4)).to(dtype=torch.float64)
    known = entries([inner.replace(",", " ")])[0].make()
    own, method = known(batch).advantages, Shuffled(inner)
    assert method.needs == known.needs
    found = method(batch).advantages
    assert torch.equal(found, method(batch).advantages)
    per_step = [[step[0] for step in by_step(batch, one)] for one in (own, found)]
    before, after = torch.tensor(per_step, dtype=torch.float64)
    assert not torch.equal(before, after)
    for episode in range(batch.num_episodes):
        steps = batch.steps.episode_of_step == episode
        assert torch.equal(before[steps].sort().values, after[steps].sort().values)
    assert torch.equal(ops.spread_steps(after, batch.tokens.step_of_token), found), (
        "tokens of a step are alike"
    )


def test_a_method_that_weighs_tokens_is_refused() -> None:
    """Its steps have no one advantage."""
    from benchmarks.credit.shuffled import Shuffled

    with pytest.raises(ValueError, match="different advantages"):
        Shuffled("rlsd")(build(random_attempts(3, groups=3, size=4)))


def test_averaged_every_step_of_an_episode_has_its_mean() -> None:
    """By hand: the mean over steps, however many tokens each has, on every token of the episode."""
    from benchmarks.credit.shuffled import Averaged

    inner = "path_gain,measure=commands,episode_weight=0"
    batch = build(random_attempts(3, groups=3, size=4)).to(dtype=torch.float64)
    known = entries([inner.replace(",", " ")])[0].make()
    own, found = known(batch).advantages, Averaged(inner)(batch).advantages
    assert Averaged(inner).needs == known.needs
    assert not torch.equal(own, found)
    before, after = (by_step(batch, one) for one in (own, found))
    for episode in range(batch.num_episodes):
        steps = [number for number, of in enumerate(batch.steps.episode_of_step) if of == episode]
        mean = sum(before[number][0] for number in steps) / len(steps)
        for number in steps:
            assert after[number] == pytest.approx([mean] * len(after[number]), abs=1e-12)
