"""Settings of an index, and the means to build or search it."""

import math
from dataclasses import dataclass

from stepopsd_envs.processors import allowed_threads
from stepopsd_envs.search_qa.retrieval.errors import IndexFolderError
from stepopsd_envs.search_qa.retrieval.index_folder import KINDS


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """Settings of an index to build.

    Attributes:
        kind: ``"bm25"``, ``"lucene"``, ``"dense"`` or ``"hybrid"`` (bm25 and dense).
        k1, b: parameters of BM25, for bm25 and Lucene; None: their defaults.
        model: model of a dense index: a folder, ``"all-MiniLM-L6-v2"``, or a name on the Hugging Face Hub.
        search: search in a dense index: ``"flat"`` (exact) or ``"hnsw"`` (approximate, by a graph).
        dense_weight: weight of the dense part in a hybrid index; that of bm25 is 1. A quarter was best for
            all-MiniLM-L6-v2 on training questions of HotpotQA and MuSiQue; a stronger model deserves more.
        query_prefix, passage_prefix: prefixes of texts; None: those with which the model was trained.

    Raises:
        IndexFolderError: a value is not allowed.
    """

    kind: str = "bm25"
    k1: float | None = None
    b: float | None = None
    model: str = "all-MiniLM-L6-v2"
    search: str = "flat"
    dense_weight: float = 0.25
    query_prefix: str | None = None
    passage_prefix: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise IndexFolderError(f"kind={self.kind!r}: give one of {', '.join(KINDS)}")
        if self.search not in ("flat", "hnsw"):
            raise IndexFolderError(f"search={self.search!r}: give 'flat' or 'hnsw'")
        if self.k1 is not None and not (math.isfinite(self.k1) and self.k1 >= 0):
            raise IndexFolderError(f"k1={self.k1}: give 0 or more")
        if self.b is not None and not 0 <= self.b <= 1:
            raise IndexFolderError(f"b={self.b}: give 0 to 1")
        if not self.dense_weight > 0:
            raise IndexFolderError(f"dense_weight={self.dense_weight}: give a number above 0")


@dataclass(frozen=True, slots=True)
class Means:
    """The means to build or search an index; they change results only by rounding.

    Attributes:
        threads: number of threads; None: all that this process may use.
        device: device for a dense index, such as ``"cuda"``; None: the CPU.
        model: folder or name of a dense index's model, if it has moved since the index was built.
        bfloat16: encode passages in bfloat16 on a CPU; queries are always encoded in float32 there.
    """

    threads: int | None = None
    device: str | None = None
    model: str | None = None
    bfloat16: bool = False

    @property
    def cores(self) -> int:
        """The number of threads: those asked for, as far as this process may use them."""
        allowed = allowed_threads()
        return min(self.threads or allowed, allowed)
