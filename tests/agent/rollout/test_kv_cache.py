"""The key-value cache holds what was appended, whatever rows and keys were dropped, and rarely copies it."""

import torch
from torch import Tensor

from stepopsd_agent.models.packed import CACHE_ROOM
from stepopsd_agent.rollout import KeyValueCache

LAYERS, HEADS, WIDTH = 2, 3, 4


def drawn(rows: int, tokens: int) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of new tokens, for each layer."""
    shape = (rows, HEADS, tokens, WIDTH)
    return [(torch.randn(shape), torch.randn(shape)) for _ in range(LAYERS)]


class Reference:
    """The same cache by plain concatenation."""

    def __init__(self) -> None:
        """Begin empty."""
        self.held: list[tuple[Tensor, Tensor]] = []

    def append(self, new: list[tuple[Tensor, Tensor]]) -> None:
        """Concatenate."""
        if self.held:
            pairs = zip(self.held, new, strict=True)
            new = [(torch.cat([k, a], 2), torch.cat([v, b], 2)) for (k, v), (a, b) in pairs]
        self.held = new

    def equals(self, cache: KeyValueCache) -> bool:
        """Whether the cache holds this."""
        pairs = zip(self.held, [(keys, values) for keys, values, *_ in cache], strict=True)
        return all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in pairs)


def append(cache: KeyValueCache, new: list[tuple[Tensor, Tensor]]) -> None:
    """Append in every layer."""
    for layer, (keys, values) in enumerate(new):
        found = cache.update(keys, values, layer)
        assert torch.equal(found[0][:, :, -keys.shape[2] :], keys)
        assert torch.equal(found[1][:, :, -keys.shape[2] :], values)


@torch.inference_mode()
def test_cache_holds_what_concatenation_holds_after_every_change() -> None:
    """Appending, dropping rows, moving keys and shortening, one after another."""
    cache, reference = KeyValueCache(), Reference()

    def both(rows: int, tokens: int) -> None:
        new = drawn(rows, tokens)
        append(cache, new)
        reference.append(new)
        assert reference.equals(cache)

    for tokens in (5, 1, 1, CACHE_ROOM, 1, 3 * CACHE_ROOM, 1):
        both(6, tokens)
    rows = torch.tensor([0, 2, 5])
    cache.change(lambda held: held[rows])
    reference.held = [(k[rows], v[rows]) for k, v in reference.held]
    both(3, 1)
    order = torch.stack([torch.randperm(cache.get_seq_length())[:20] for _ in range(3)])
    picked = order[:, None, :, None].expand(-1, HEADS, -1, WIDTH)
    cache.change(lambda held: held.gather(2, picked))
    reference.held = [(k.gather(2, picked), v.gather(2, picked)) for k, v in reference.held]
    for _ in range(3):
        both(3, 1)
    cache.change(lambda held: held[:, :, :7])
    reference.held = [(k[:, :, :7], v[:, :, :7]) for k, v in reference.held]
    both(3, 2)


@torch.inference_mode()
def test_tokens_are_appended_without_copying_those_before() -> None:
    """The keys stay where they are in memory while tokens are appended."""
    cache, places = KeyValueCache(), set[int]()
    append(cache, drawn(2, 10))
    for _ in range(3 * CACHE_ROOM):
        append(cache, drawn(2, 1))
        places.add(next(iter(cache))[0].data_ptr())
    assert len(places) <= 4  # concatenation: as many as tokens, or nearly


@torch.inference_mode()
def test_a_pass_that_failed_half_way_leaves_no_trace() -> None:
    """One layer has grown and another has not."""
    cache, reference = KeyValueCache(), Reference()
    first = drawn(2, 4)
    append(cache, first)
    reference.append(first)
    keys, values = drawn(2, 3)[0]
    cache.update(keys, values, 0)  # and not layer 1
    cache.change(lambda held: held[:, :, :4])
    assert reference.equals(cache)


def test_empty_cache_can_be_changed() -> None:
    """Before the first pass there is nothing to change."""
    cache = KeyValueCache()
    cache.change(lambda held: held[:1])
    assert cache.get_seq_length() == 0
