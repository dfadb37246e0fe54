"""Search among vectors: exact is exact, the graph nearly so, and half precision on any device."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stepopsd_envs.search_qa.retrieval import vectors
from stepopsd_envs.search_qa.retrieval.vectors import Matrix, Nearest, Vectors

faiss_only = pytest.mark.skipif(
    importlib.util.find_spec("faiss") is None, reason="FAISS is not installed (extra search)"
)


def unit_rows(count: int, width: int, seed: int) -> Vectors:
    """Random rows of length 1."""
    rows = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


MATRIX: Matrix = unit_rows(700, 24, 0).astype(np.float16)
QUERIES = unit_rows(9, 24, 1)


def by_hand(
    matrix: Matrix, queries: Vectors, k: int
) -> tuple[Vectors, np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
    """All inner products, sorted."""
    scores = queries @ matrix.astype(np.float32).T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), order


def graph(folder: Path) -> Nearest:
    """A graph, written and read."""
    done: list[int] = []
    vectors.write_hnsw(MATRIX, folder / "hnsw.faiss", done.append)
    assert sum(done) == len(MATRIX)
    assert [path.name for path in folder.iterdir()] == ["hnsw.faiss"]
    return vectors.hnsw(folder / "hnsw.faiss")


@faiss_only
def test_flat_search_is_exact() -> None:
    """The same rows with the same scores as by hand."""
    scores, rows = vectors.flat(MATRIX)(QUERIES, 5)
    expected = by_hand(MATRIX, QUERIES, 5)
    assert np.array_equal(rows, expected[1])
    assert np.allclose(scores, expected[0], atol=1e-6)


@faiss_only
def test_graph_finds_nearly_all(tmp_path: Path) -> None:
    """At least 95 % of the ten nearest, with their exact scores."""
    scores, rows = graph(tmp_path)(QUERIES, 10)
    expected = by_hand(MATRIX, QUERIES, 10)
    shares = [len({*found} & {*wanted}) / 10 for found, wanted in zip(rows, expected[1], strict=True)]
    assert np.mean(shares) >= 0.95
    assert np.allclose(scores, (QUERIES[:, None] * MATRIX[rows].astype(np.float32)).sum(2), atol=1e-5)


@pytest.mark.parametrize("rows", [100, 700, 10_000])
def test_search_in_half_precision_is_exact_but_for_rounding(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the size of the blocks that scores are computed in."""
    monkeypatch.setattr(vectors, "ROWS", rows)
    check_half(vectors.on_device(MATRIX, "cpu"))


@pytest.mark.gpu
def test_search_on_the_gpu_is_exact_but_for_rounding() -> None:
    """The same, where it is meant to run."""
    check_half(vectors.on_device(MATRIX, "cuda"))


def check_half(nearest: Nearest) -> None:
    """Scores within rounding of float16, and no row left out that is better by more than that."""
    scores, rows = nearest(QUERIES, 5)
    expected = by_hand(MATRIX, QUERIES, 5)
    assert scores.dtype == np.float32 and rows.shape == (9, 5)
    assert np.allclose(scores, expected[0], atol=2e-3)
    assert np.allclose((QUERIES[:, None] * MATRIX[rows].astype(np.float32)).sum(2), scores, atol=2e-3)
    assert all(len({*found}) == 5 for found in rows)


@faiss_only
@pytest.mark.parametrize("make", [vectors.flat, lambda matrix: vectors.on_device(matrix, "cpu")])
def test_all_rows_can_be_asked_for(make: Callable[[Matrix], Nearest]) -> None:
    """Each comes once."""
    _, rows = make(MATRIX[:6])(QUERIES, 6)
    assert np.array_equal(np.sort(rows, axis=1), np.tile(np.arange(6), (9, 1)))
