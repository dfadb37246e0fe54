"""Dense retrieval: passages and queries as vectors of a sentence encoder, nearest by inner product.

Vectors are kept in half precision, which changes scores in the fourth digit. Encoding is the long part (hours
for a large corpus without a GPU), so it is kept block by block and goes on where it was stopped.
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
    """How passages became vectors, and how these are searched.

    Attributes:
        model: folder or name of the encoder's model.
        digest: hash of its weights: another model of that name would search among vectors it did not make.
        query_prefix, passage_prefix: put before each text.
        search: ``"flat"``, exact, or ``"hnsw"``.
    """

    model: str
    digest: str
    query_prefix: str
    passage_prefix: str
    search: str = "flat"

    @classmethod
    def of(cls, model: str, encoder: Encoder, search: str) -> "DenseSettings":
        """The settings of an encoder that was just loaded."""
        prefixes = encoder.prefixes
        return cls(model, encoder.digest, prefixes.query or "", prefixes.passage or "", search)


class DenseRetriever:
    """Searches a folder of vectors and passages.

    Args:
        folder: what ``encode_passages`` wrote.
        corpus: fingerprint of the passages in it.
        settings: as the folder was made with.
        device: of the encoder and, when it is a GPU and ``search`` is ``"flat"``, of the vectors.
        model: folder or name of the same model, where it lies elsewhere than when the index was built.
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
                f"{folder} was made with other weights of {settings.model} than the ones at hand; name the "
                "right model with --model, or build the index again"
            )
        self._store: PassageStore | None = PassageStore(folder)
        self._nearest, how = _searcher(folder, settings.search, device or "cpu")
        kept = {name: str(value) for name, value in asdict(settings).items() if name != "model"}
        self.fingerprint = fingerprint([("dense", corpus), ("how", how), *sorted(kept.items())])

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """For each query the nearest passages, the score being the cosine."""
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
        """Close the passages."""
        if self._store is not None:
            self._store.close()
            self._store = None


def encode_passages(
    folder: Path, store: PassageStore, encoder: Encoder, advance: Callable[[int], object]
) -> None:
    """Encode the passages of a store, from where an earlier call was stopped."""
    matrix, done = _begun(folder, (len(store), encoder.dimension))
    advance(done)
    for start in range(done, len(store), BLOCK):
        stop = min(start + BLOCK, len(store))
        matrix[start:stop] = encoder.passages([contents(store[number]) for number in range(start, stop)])
        matrix.flush()  # before the note, which must not promise what is not on disk
        _note(folder, stop)
        advance(stop - start)


def link(folder: Path, advance: Callable[[int], object]) -> None:
    """Make the graph for approximate search, once the vectors are there."""
    vectors.write_hnsw(encoded(folder), folder / GRAPH, advance)
    with (folder / GRAPH).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    (folder / GRAPH_DIGEST).write_text(digest)


def is_linked(folder: Path) -> bool:
    """Whether the graph is there."""
    return (folder / GRAPH_DIGEST).is_file()


def encoded(folder: Path) -> NDArray[np.float16]:
    """The vectors of a folder, left on disk."""
    matrix: NDArray[np.float16] = np.load(folder / VECTORS, mmap_mode="r", allow_pickle=False)
    return matrix


def _begun(folder: Path, shape: tuple[int, int]) -> tuple[Any, int]:
    """The matrix to fill, and how many of its rows are filled."""
    path = folder / VECTORS
    try:
        done = json.loads((folder / DONE).read_bytes())
        matrix = np.lib.format.open_memmap(path, mode="r+")
    except (OSError, ValueError):
        done, matrix = 0, None
    if matrix is None or matrix.shape != shape or matrix.dtype != np.float16 or not 0 <= done <= shape[0]:
        (folder / DONE).unlink(missing_ok=True)
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape), 0
    return matrix, done


def _note(folder: Path, done: int) -> None:
    unfinished = folder / f"unfinished-{DONE}"
    unfinished.write_text(json.dumps(done))
    unfinished.replace(folder / DONE)


def _searcher(folder: Path, search: str, device: str) -> tuple[vectors.Nearest, str]:
    """What finds the nearest rows, and its name."""
    if search == "hnsw":  # threads link neighbours in no fixed order, so the graph itself counts
        return vectors.hnsw(folder / GRAPH), (folder / GRAPH_DIGEST).read_text()
    if device.startswith("cuda"):
        return vectors.on_device(encoded(folder), device), "float16"
    return vectors.flat(encoded(folder)), "float32"
