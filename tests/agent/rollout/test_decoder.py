"""Decoding with a key-value cache that lives across turns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from stepopsd_agent.models import Policy
from stepopsd_agent.models.packed import RowCache
from stepopsd_agent.rollout import Decoder, PaddedDecoder, Sampled, SamplingParams
from stepopsd_agent.rollout.sampling import Stops, noise
from tests.helpers.decoding import converse
from tests.helpers.models import tiny

pytestmark = pytest.mark.samples
MAX_TOKENS = 5
PARAMS = SamplingParams(max_tokens=MAX_TOKENS)


def prompts(turns: int, member: int) -> list[list[int]]:
    """Random ids for each turn of one row, of differing lengths."""
    rng = np.random.default_rng([7, member])
    return [rng.integers(1, 300, rng.integers(1, 25)).tolist() for _ in range(turns)]


@pytest.fixture(params=[Decoder, PaddedDecoder], autouse=True)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type:
    """Every test holds for both decoders."""
    monkeypatch.setitem(globals(), "Decoder", request.param)
    chosen: type = request.param
    return chosen


def play(
    policy: Policy, members: list[int], turns: int, params: SamplingParams = PARAMS
) -> list[list[Sampled]]:
    """Let rows talk for some turns, all in one decoder."""
    return converse(Decoder(policy, len(members), params), [prompts(turns, m) for m in members], by(members))


def by(members: list[int]) -> Callable[[int, int], np.ndarray]:
    """Noise of each row's turns."""
    return lambda row, turn: noise("seed", "task", members[row], turn, MAX_TOKENS)


def same(found: list[list[Sampled]], expected: list[list[Sampled]]) -> None:
    """The same ids, and log-probabilities to rounding."""
    for row, other in zip(found, expected, strict=True):
        assert [sampled.ids for sampled in row] == [sampled.ids for sampled in other]
        for one, two in zip(row, other, strict=True):
            assert one.logprobs == pytest.approx(two.logprobs, abs=1e-9)


def test_decoder_logprobs_equal_one_full_pass() -> None:
    """What the cache gives over ten turns, holes closed on the way, is what one pass over the row gives."""
    policy, members = tiny(), [0, 1, 2, 3]
    for member, row in zip(members, play(policy, members, turns=10), strict=True):
        ids: list[int] = []
        scored: list[tuple[int, float]] = []
        for given, sampled in zip(prompts(10, member), row, strict=True):
            ids += given
            scored += [(len(ids) + k, logprob) for k, logprob in enumerate(sampled.logprobs)]
            ids += sampled.ids
        select = torch.zeros(1, len(ids), dtype=torch.bool)
        select[0, [t for t, _ in scored]] = True
        with torch.inference_mode():
            full = policy.token_logprobs(torch.tensor([ids]), select)[0][select[0]]
        torch.testing.assert_close(torch.tensor([value for _, value in scored]), full, atol=1e-5, rtol=0)


def test_decoder_ids_do_not_depend_on_neighbours() -> None:
    """Float64: alone or among others, a row draws exactly the same ids."""
    policy = tiny("float64")
    together = play(policy, [0, 1, 2, 3, 4], turns=6)
    for member in (0, 3):
        alone = play(policy, [member], turns=6)[0]
        assert [s.ids for s in alone] == [s.ids for s in together[member]]


def test_decoder_keep_drops_rows_and_continues_the_others() -> None:
    """Dropping a finished neighbour changes nothing for the rows that stay."""
    policy = tiny("float64")
    whole = play(policy, [0, 2], turns=4)
    talks = [prompts(4, 0), prompts(4, 1)[:2], prompts(4, 2)]
    found = converse(Decoder(policy, 3, PARAMS), talks, by([0, 1, 2]))
    assert list(map(len, found)) == [4, 2, 4]
    for one, other in zip(whole, found[::2], strict=True):
        assert [sampled.ids for sampled in one] == [sampled.ids for sampled in other]


def test_decoder_restart_forgets_the_past() -> None:
    """A slot that takes the next task answers as a fresh one, whether its prompts begin alike or not."""
    policy = tiny("float64")
    for others in (prompts(1, 5), prompts(1, 1), [prompts(1, 1)[0][:3]]):
        decoder, fresh = Decoder(policy, 1, PARAMS), play(policy, [1], turns=1)[0][0]
        uniforms = by([1])(0, 0)[None]
        decoder.respond(others, uniforms)
        decoder.restart(0)
        (again,) = decoder.respond(prompts(1, 1), uniforms)
        assert again is not None and again.ids == fresh.ids
        assert again.logprobs == pytest.approx(fresh.logprobs, abs=1e-9)
        assert decoder.lengths() == [len(prompts(1, 1)[0]) + len(fresh.ids)]


def test_decoder_stops_at_the_stop_token() -> None:
    """Nothing follows the end token."""
    policy = tiny()
    for row in play(policy, list(range(8)), turns=8):
        for sampled in row:
            assert not policy.stop_ids & set(sampled.ids[:-1])
            assert len(sampled.ids) == len(sampled.logprobs) <= MAX_TOKENS


def test_decoder_records_the_distribution_that_was_cut() -> None:
    """Recorded log-probabilities are those of the full distribution plus what the cut gave to those left."""
    policy, params = tiny("float64"), replace(PARAMS, temperature=0.8, top_k=40, top_p=0.7)
    ids: list[int] = []
    for given, sampled in zip(prompts(6, 3), play(policy, [2, 3], turns=6, params=params)[1], strict=True):
        ids += given
        for token, logprob in zip(sampled.ids, sampled.logprobs, strict=True):
            with torch.inference_mode():
                logits = policy.model(torch.tensor([ids])).logits[0, -1]
            shares = torch.softmax(logits / 0.8, dim=0)
            likely = shares.sort(descending=True).values[:40]
            kept = next(k for k in range(1, 41) if likely[:k].sum() >= 0.7 * likely.sum())
            assert shares[token] >= likely[kept - 1] - 1e-12
            expected = float(torch.log(shares[token] / likely[:kept].sum()))
            assert abs(logprob - expected) < 1e-9
            ids.append(token)


def test_decoder_logprobs_do_not_depend_on_neighbours() -> None:
    """Float32: where the same ids are drawn, alone or among others, log-probabilities are within 1e-5."""
    policy, compared = tiny(), 0
    together = play(policy, [0, 1, 2, 3, 4], turns=8)
    for member in range(5):
        for alone, among in zip(play(policy, [member], turns=8)[0], together[member], strict=True):
            if alone.ids != among.ids:
                break  # a rounding error may pick another token, and what follows is another story
            torch.testing.assert_close(
                torch.tensor(alone.logprobs), torch.tensor(among.logprobs), atol=1e-5, rtol=0
            )
            compared += len(alone.ids)
    assert compared > 100


def test_decoder_stops_at_a_string() -> None:
    """The token that completes it is the last one, and what was drawn before is what is drawn without it."""
    policy = tiny("float64")
    free = play(policy, list(range(6)), turns=1)
    texts = [policy.decode(row[0].ids) for row in free]
    pairs = {text[k : k + 2] for text in texts for k in range(len(text) - 1)}
    stop = next(pair for pair in sorted(pairs) if any(pair not in text for text in texts))
    stopped = play(policy, list(range(6)), 1, replace(PARAMS, stop=(stop,)))
    for (without,), (sampled,) in zip(free, stopped, strict=True):
        assert sampled.ids == without.ids[: len(sampled.ids)]
        assert stop not in policy.decode(sampled.ids[:-1])
        ended = stop in policy.decode(sampled.ids)
        assert ended or sampled.ids == without.ids


def test_both_decoders_draw_the_same(kind: type) -> None:
    """Float64: the same ids, and log-probabilities to rounding."""
    policy = tiny("float64")
    ours = play(policy, [0, 1, 2], turns=5)
    others = converse(PaddedDecoder(policy, 3, PARAMS), [prompts(5, m) for m in range(3)], by([0, 1, 2]))
    same(ours, others)


def test_a_response_is_handed_over_before_the_slowest_has_ended(
    kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once half of them are there; what the rows draw is what they draw alone."""
    monkeypatch.setattr(Stops, "after", lambda _, ids: len(ids) > ids[0] % MAX_TOKENS)
    policy, members = tiny("float64"), list(range(9))
    alone = [play(policy, [member], turns=3)[0] for member in members]
    same(play(policy, members, turns=3), alone)
    decoder = Decoder(policy, len(members), PARAMS)
    uniforms = np.stack([by(members)(row, 0) for row in members])
    found = decoder.respond([prompts(1, m)[0] for m in members], uniforms)
    lengths = sorted(len(row[0].ids) for row in alone)
    expected = lengths[-1] if kind is PaddedDecoder else lengths[4]
    assert lengths[4] < lengths[-1]
    assert [len(row[0].ids) <= expected for row in alone] == [sampled is not None for sampled in found]


def test_prompts_that_begin_alike_are_read_once(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """Float64: attempts at one task draw what they draw alone, log-probabilities to rounding."""
    policy, sizes = tiny("float64"), list[list[int]]()
    given = prompts(3, 0)
    given[0] = list(range(1, 60))
    talks = [[[*given[0], *end], *given[1:]] for end in ([], [], [7], [8, 9, 7], [7])]
    alone = [converse(Decoder(policy, 1, PARAMS), [talk], by([row]))[0] for row, talk in enumerate(talks)]
    run = policy.next_logits

    def noted(new: Mapping[int, Sequence[int]], cache: RowCache) -> torch.Tensor:
        sizes.append([len(ids) for ids in new.values()])
        return run(new, cache)

    monkeypatch.setattr(policy, "next_logits", noted)
    decoder = Decoder(policy, 5, PARAMS)
    same(converse(decoder, talks, by([0, 1, 2, 3, 4])), alone)
    if kind is not PaddedDecoder:
        assert sizes[:2] == [[59], [1, 1, 1, 3, 1]]
