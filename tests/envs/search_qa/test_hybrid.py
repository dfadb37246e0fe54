"""Reciprocal rank fusion."""

from collections.abc import Sequence

import pytest
from hypothesis import given, strategies as st

from stepopsd_envs.search_qa.retrieval.base import Passage, RetrieverError
from stepopsd_envs.search_qa.retrieval.bm25 import Bm25
from stepopsd_envs.search_qa.retrieval.hybrid import Hybrid, fuse


def ranking(names: str) -> list[Passage]:
    """Passages named by letters, with scores that do not matter."""
    return [Passage(name, name.upper(), f"text {name}", -7.0) for name in names]


class Fixed:
    """A retriever with one answer to everything."""

    def __init__(self, names: str, fails: bool = False) -> None:
        self.fingerprint = f"fixed {names}"
        self.asked: list[int] = []
        self.closed = 0
        self._names, self._fails = names, fails

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """The first ``k`` letters."""
        if self._fails:
            raise RetrieverError("down", transient=True)
        self.asked.append(k)
        return [ranking(self._names[:k]) for _ in queries]

    def close(self) -> None:
        """Count it; fail if told to."""
        self.closed += 1
        if self._fails:
            raise RetrieverError("down", transient=True)


def test_fuse_sums_reciprocal_ranks() -> None:
    """By hand: b 1/62 + 1/61, a 1/61, d 1/62, c 1/63."""
    found = fuse([ranking("abc"), ranking("bd")], 10)
    assert [passage.id for passage in found] == ["b", "a", "d", "c"]
    assert [passage.score for passage in found] == pytest.approx([1 / 62 + 1 / 61, 1 / 61, 1 / 62, 1 / 63])
    assert found[0] == Passage("b", "B", "text b", found[0].score)
    assert [passage.id for passage in fuse([ranking("abc"), ranking("bd")], 2)] == ["b", "a"]


def test_fuse_weighs_rankings() -> None:
    """A light second ranking reorders little: b gains, d stays behind c."""
    found = fuse([ranking("abc"), ranking("bd")], 10, weights=(1.0, 0.25))
    assert [passage.id for passage in found] == ["b", "a", "c", "d"]
    assert found[0].score == pytest.approx(1 / 62 + 0.25 / 61)


def test_fuse_puts_equal_sums_in_order_of_the_rankings() -> None:
    """The first ranking wins, whatever the names."""
    assert [passage.id for passage in fuse([ranking("z"), ranking("a")], 2)] == ["z", "a"]
    assert fuse([[], []], 3) == []


@given(st.lists(st.permutations("abcdefgh"), min_size=1, max_size=3))
def test_fuse_of_equal_rankings_is_that_ranking(rankings: list[list[str]]) -> None:
    """Also, each passage comes once, and a ranking of all of them loses none."""
    same = fuse([ranking("".join(rankings[0]))] * len(rankings), 8)
    assert [passage.id for passage in same] == list(rankings[0])
    mixed = fuse([ranking("".join(names)) for names in rankings], 8)
    assert sorted(passage.id for passage in mixed) == list("abcdefgh")


def test_hybrid_asks_every_part_as_deep_as_it_is_told() -> None:
    """Or as deep as is asked for, where that is more."""
    parts = [Fixed("abcdef"), Fixed("fedcba")]
    hybrid = Hybrid(parts, depth=4)
    assert [passage.id for passage in hybrid.search(["x"], 2)[0]] == ["c", "d"]  # d: 1/64 + 1/63, as c
    hybrid.search(["x", "y"], 6)
    assert [part.asked for part in parts] == [[4, 6], [4, 6]]


def test_hybrid_of_real_parts_finds_what_each_finds() -> None:
    """Two BM25 indexes over different passages."""
    left, right = Bm25([Passage("l", "", "left house")]), Bm25([Passage("r", "", "right house")])
    hybrid = Hybrid([left, right])
    assert [[p.id for p in found] for found in hybrid.search(["house", "right", "-"], 3)] == [
        ["l", "r"],
        ["r"],
        [],
    ]


def test_hybrid_fingerprint_depends_on_parts_and_settings() -> None:
    """Also on the order of the parts, which decides between equal sums."""
    one, two = Fixed("a"), Fixed("b")
    hybrids = [Hybrid([one, two]), Hybrid([two, one]), Hybrid([one]), Hybrid([one, two], depth=50)]
    hybrids.append(Hybrid([one, two], constant=10.0))
    hybrids.append(Hybrid([one, two], weights=(1.0, 0.5)))
    assert len({hybrid.fingerprint for hybrid in hybrids}) == len(hybrids)


def test_hybrid_fails_with_a_part_and_closes_all() -> None:
    """A ranking of half the parts would be another retriever's answer."""
    parts = [Fixed("a", fails=True), Fixed("b")]
    hybrid = Hybrid(parts)
    with pytest.raises(RetrieverError, match="down"):
        hybrid.search(["x"], 1)
    with pytest.raises(RetrieverError, match="down"):
        hybrid.close()
    assert [part.closed for part in parts] == [1, 1]


def test_hybrid_refuses_bad_settings() -> None:
    """And says what to give."""
    with pytest.raises(ValueError, match="no retrievers to fuse"):
        Hybrid([])
    with pytest.raises(ValueError, match="k=0: give a positive number"):
        Hybrid([Fixed("a")], depth=0)
    with pytest.raises(ValueError, match="constant=nan: give a number of 0 or more"):
        Hybrid([Fixed("a")], constant=float("nan"))
    for weights in ([1.0, 1.0], [0.0]):
        with pytest.raises(ValueError, match="weights"):
            Hybrid([Fixed("a")], weights=weights)
