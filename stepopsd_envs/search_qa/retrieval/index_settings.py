"""What index to build, and with what."""

import os
from dataclasses import dataclass

from stepopsd_envs.search_qa.retrieval.errors import IndexFolderError
from stepopsd_envs.search_qa.retrieval.index_folder import KINDS


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """How to build an index.

    Attributes:
        kind: ``"bm25"``, ``"lucene"``, ``"dense"`` or ``"hybrid"`` (bm25 and dense).
        k1, b: of bm25 and of Lucene; None takes their own defaults.
        model: of a dense index: a folder, ``"all-MiniLM-L6-v2"``, or a name of the Hugging Face Hub.
        search: of a dense index: ``"flat"``, exact, or ``"hnsw"``, by a graph.
        dense_weight: of a hybrid index: what a rank of the dense part counts beside one of bm25's. A
            quarter was best for all-MiniLM-L6-v2 on training questions of HotpotQA and MuSiQue; a stronger
            model earns more.
        query_prefix, passage_prefix: put before texts; None takes those the model was trained with.
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
            raise IndexFolderError(f"an index of kind {self.kind!r}: give one of {', '.join(KINDS)}")
        if self.search not in ("flat", "hnsw"):
            raise IndexFolderError(f"search={self.search!r}: give 'flat' or 'hnsw'")
        if not self.dense_weight > 0:
            raise IndexFolderError(f"dense_weight={self.dense_weight}: give a number above 0")


@dataclass(frozen=True, slots=True)
class Means:
    """With what to build or search, which changes no answer but for rounding.

    Attributes:
        threads: None takes all cores.
        device: of a dense index, such as ``"cuda"``; None is the CPU.
        model: where a dense index's model lies now, if not where it lay when the index was built.
        bfloat16: encode passages in it on a CPU; queries are always encoded in float32 there.
    """

    threads: int | None = None
    device: str | None = None
    model: str | None = None
    bfloat16: bool = False

    @property
    def cores(self) -> int:
        """How many threads that is."""
        return self.threads or os.cpu_count() or 1
