"""Decoding with a key-value cache that lives across turns."""

import numpy as np
import pytest
import torch

from stepopsd_agent.generation import Decoder, Sampled, choose, noise
from stepopsd_agent.policy import Policy
from tests.models import tiny

MAX_TOKENS = 5


def prompts(turns: int, member: int) -> list[list[int]]:
    """Random ids for each turn of one row, of differing lengths."""
    rng = np.random.default_rng([7, member])
    return [rng.integers(1, 300, rng.integers(1, 25)).tolist() for _ in range(turns)]


def play(policy: Policy, members: list[int], turns: int, temperature: float = 1.0) -> list[list[Sampled]]:
    """Let rows talk for some turns, all in one decoder."""
    decoder = Decoder(policy, len(members), temperature=temperature, max_tokens=MAX_TOKENS)
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
    decoder = Decoder(policy, 3, temperature=1.0, max_tokens=MAX_TOKENS)
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
    decoder = Decoder(policy, 2, temperature=1.0, max_tokens=MAX_TOKENS)
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


def test_choose_follows_the_distribution() -> None:
    """Evenly spread noise gives each token its share: probabilities 0.2, 0.5, 0.3."""
    logits = torch.log(torch.tensor([[0.2, 0.5, 0.3]])).expand(1000, 3)
    ids, logprobs = choose(logits, torch.arange(1000).double() / 1000, temperature=1.0)
    assert torch.bincount(ids).tolist() == pytest.approx([200, 500, 300], abs=1)
    torch.testing.assert_close(logprobs, logits[0][ids])


def test_choose_temperature_zero_takes_the_likeliest() -> None:
    """Noise plays no part."""
    ids, _ = choose(
        torch.tensor([[0.0, 3.0, 1.0]]), torch.tensor([0.999], dtype=torch.float64), temperature=0.0
    )
    assert ids.tolist() == [1]


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
