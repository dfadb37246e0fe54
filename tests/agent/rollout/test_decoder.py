"""Decoding with a key-value cache that lives across turns."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from stepopsd_agent.models import Policy
from stepopsd_agent.rollout import Decoder, PaddedDecoder, Sampled, SamplingParams
from stepopsd_agent.rollout.sampling import noise
from tests.helpers.models import tiny

pytestmark = pytest.mark.samples
MAX_TOKENS = 5
PARAMS = SamplingParams(max_tokens=MAX_TOKENS)


def prompts(turns: int, member: int) -> list[list[int]]:
    """Random ids for each turn of one row, of differing lengths."""
    rng = np.random.default_rng([7, member])
    return [rng.integers(1, 300, rng.integers(1, 25)).tolist() for _ in range(turns)]


@pytest.fixture(params=[Decoder, PaddedDecoder], autouse=True)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test holds for both decoders."""
    monkeypatch.setitem(globals(), "Decoder", request.param)


def play(
    policy: Policy, members: list[int], turns: int, params: SamplingParams = PARAMS
) -> list[list[Sampled]]:
    """Let rows talk for some turns, all in one decoder."""
    decoder = Decoder(policy, len(members), params)
    out: list[list[Sampled]] = [[] for _ in members]
    for turn in range(turns):
        uniforms = np.stack([noise("seed", "task", member, turn, MAX_TOKENS) for member in members])
        for row, sampled in enumerate(decoder.respond([prompts(turns, m)[turn] for m in members], uniforms)):
            out[row].append(sampled)
    return out


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
    decoder = Decoder(policy, 3, PARAMS)
    rows = [0, 1, 2]
    for turn in range(4):
        if turn == 2:
            decoder.keep([0, 2])
            rows = [0, 2]
        uniforms = np.stack([noise("seed", "task", m, turn, MAX_TOKENS) for m in rows])
        got = decoder.respond([prompts(4, m)[turn] for m in rows], uniforms)
        assert got[0].ids == whole[0][turn].ids
        assert got[-1].ids == whole[1][turn].ids


def test_decoder_restart_forgets_the_past() -> None:
    """A slot that takes the next task answers as a fresh one."""
    policy = tiny("float64")
    fresh = play(policy, [1], turns=1)[0][0]
    decoder = Decoder(policy, 2, PARAMS)
    first = np.stack([noise("seed", "task", m, 0, MAX_TOKENS) for m in (0, 1)])
    decoder.respond([prompts(1, 0)[0], prompts(1, 5)[0]], first)
    decoder.restart(1)
    again = decoder.respond([[9, 9], prompts(1, 1)[0]], first)
    assert again[1].ids == fresh.ids


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


def test_both_decoders_draw_the_same(kind: None) -> None:
    """Float64: the same ids, and log-probabilities to rounding."""
    policy = tiny("float64")
    ours = play(policy, [0, 1, 2], turns=5)
    decoder = PaddedDecoder(policy, 3, PARAMS)
    for turn in range(5):
        uniforms = np.stack([noise("seed", "task", member, turn, MAX_TOKENS) for member in range(3)])
        for row, other in enumerate(decoder.respond([prompts(5, m)[turn] for m in range(3)], uniforms)):
            assert ours[row][turn].ids == other.ids
            assert ours[row][turn].logprobs == pytest.approx(other.logprobs, abs=1e-9)
