"""Dense retrieval: a sentence encoder turns passages and queries into vectors, compared by inner product.

Vectors are stored in half precision, which changes scores in the fourth digit. Encoding takes longest (hours
for a large corpus without a GPU), so it is saved block by block and resumes where it was stopped.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepopsd_envs.manifest import fingerprint
from stepopsd_envs.plain_file import plain_file
from stepopsd_envs.search_qa.corpus import contents
from stepopsd_envs.search_qa.retrieval import vectors
from stepopsd_envs.search_qa.retrieval.base import Passage, RetrieverError, require_k
from stepopsd_envs.search_qa.retrieval.encoder import Encoder, Prefixes
from stepopsd_envs.search_qa.retrieval.errors import WrongModelError
from stepopsd_envs.search_qa.retrieval.passages import PassageStore
from stepopsd_envs.search_qa.retrieval.wire import searchable

VECTORS, DONE, GRAPH, GRAPH_DIGEST = "vectors.npy", "vectors.done.json", "hnsw.faiss", "hnsw.digest"
BLOCK = 256  # passages encoded between two saves


@dataclass(frozen=True, slots=True)
class DenseSettings:
    """Settings of a dense index: the encoder, and the kind of search.

    Attributes:
        model: folder or name of the encoder's model.
        digest: hash of its weights, since a model of the same name with other weights makes other vectors.
        query_prefix, passage_prefix: prefixes of the texts.
        search: ``"flat"`` (exact) or ``"hnsw"`` (approximate).
    """

    model: str
    digest: str
    query_prefix: str
    passage_prefix: str
    search: str = "flat"

    @classmethod
    def of(cls, model: str, encoder: Encoder, search: str) -> "DenseSettings":
        """The settings with a loaded encoder."""
        prefixes = encoder.prefixes
        return cls(model, encoder.digest, prefixes.query or "", prefixes.passage or "", search)


class DenseRetriever:
    """Searches a folder of vectors and passages.

    Args:
        folder: folder written by ``encode_passages``.
        corpus: fingerprint of the passages in it.
        settings: the settings with which the folder was built.
        device: device of the encoder; if it is a GPU and ``search`` is ``"flat"``, also of the vectors.
        model: folder or name of the same model, if it has moved since the index was built.

    Raises:
        WrongModelError: the model has other weights than the one that built the index.
        ModelNotFoundError: the model cannot be loaded.
        DependencyNotInstalled: a package is missing.
    """

    def __init__(
        self,
        folder: Path,
        corpus: str,
        settings: DenseSettings,
        device: str | None = None,
        model: str | None = None,
    ) -> None:
        prefixes = Prefixes(settings.query_prefix, settings.passage_prefix)
        self._encoder = Encoder(model or settings.model, device, prefixes)
        if self._encoder.digest != settings.digest:
            raise WrongModelError(
                f"{folder} was built with other weights of {settings.model} than the ones loaded; give the "
                "right model with --model, or build the index again"
            )
        self._store: PassageStore | None = PassageStore(folder)
        self._nearest, how = _searcher(folder, settings.search, device or "cpu")
        fields = {name: str(value) for name, value in asdict(settings).items() if name != "model"}
        self.fingerprint = fingerprint([("dense", corpus), ("how", how), *sorted(fields.items())])

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """For each query the nearest passages; the score is the cosine similarity."""
        require_k(k)
        if self._store is None:
            raise RetrieverError("the dense index is closed; open it again", transient=False)
        if not queries:
            return []
        asked = self._encoder.queries([searchable(query) for query in queries])
        scores, numbers = self._nearest(asked, min(k, len(self._store)))
        return [
            [
                replace(self._store[int(number)], score=float(score))
                for score, number in zip(row, ranked, strict=True)
                if number >= 0
            ]
            for row, ranked in zip(scores, numbers, strict=True)
        ]

    def close(self) -> None:
        """Close the file of passages."""
        if self._store is not None:
            self._store.close()
            self._store = None


def encode_passages(
    folder: Path, store: PassageStore, encoder: Encoder, advance: Callable[[int], object]
) -> None:
    """Encode the passages of a store; resume where an earlier call was stopped.

    Args:
        folder: folder of the index.
        store: the passages.
        encoder: the encoder.
        advance: called with the number of passages done since the last call, to show progress.
    """
    matrix, done = _open_matrix(folder, (len(store), encoder.dimension))
    advance(done)
    for start in range(done, len(store), BLOCK):
        stop = min(start + BLOCK, len(store))
        matrix[start:stop] = encoder.passages([contents(store[number]) for number in range(start, stop)])
        matrix.flush()  # before the count, which must not include rows that are not on disk
        _write_count(folder, stop)
        advance(stop - start)


def link(folder: Path, advance: Callable[[int], object]) -> None:
    """Build the HNSW graph for approximate search from the encoded vectors."""
    vectors.write_hnsw(encoded(folder), folder / GRAPH, advance)
    with plain_file(folder / GRAPH).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    (folder / GRAPH_DIGEST).write_text(digest)


def is_linked(folder: Path) -> bool:
    """Whether the graph is complete."""
    return (folder / GRAPH_DIGEST).is_file()


def encoded(folder: Path) -> NDArray[np.float16]:
    """The vectors of a folder [passages, dimension], memory-mapped."""
    matrix: NDArray[np.float16] = np.load(folder / VECTORS, mmap_mode="r", allow_pickle=False)
    return matrix


def _open_matrix(folder: Path, shape: tuple[int, int]) -> tuple[Any, int]:
    """The matrix to fill, and the number of rows filled already."""
    path = folder / VECTORS
    try:
        done = json.loads(plain_file(folder / DONE).read_bytes())
        matrix = np.lib.format.open_memmap(path, mode="r+")
    except (OSError, ValueError):
        done, matrix = 0, None
    if matrix is None or matrix.shape != shape or matrix.dtype != np.float16 or not 0 <= done <= shape[0]:
        (folder / DONE).unlink(missing_ok=True)
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape), 0
    return matrix, done


def _write_count(folder: Path, done: int) -> None:
    unfinished = folder / f"unfinished-{DONE}"
    unfinished.write_text(json.dumps(done))
    unfinished.replace(folder / DONE)


def _searcher(folder: Path, search: str, device: str) -> tuple[vectors.Nearest, str]:
    """The function that finds the nearest rows, and its name for the fingerprint."""
    if search == "hnsw":  # threads build the graph in no fixed order, so its hash is part of the fingerprint
        return vectors.hnsw(folder / GRAPH), (folder / GRAPH_DIGEST).read_text()
    if device.startswith("cuda"):
        return vectors.on_device(encoded(folder), device), "float16"
    return vectors.flat(encoded(folder)), "float32"
