"""BM25 with Lucene and Anserini's analysis of English, as in pyserini, with the same ranking.

It needs the extra ``search``. A retriever loads Java into its process, which cannot be forked afterwards. So
it should run in a separate process: ``open_retriever`` and ``stepopsd serve-retriever`` do that.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stepopsd_envs.manifest import fingerprint
from stepopsd_envs.processors import allowed_threads
from stepopsd_envs.search_qa.corpus import passage_of
from stepopsd_envs.search_qa.retrieval.base import Passage, RetrieverError, require_k
from stepopsd_envs.search_qa.retrieval.java import MOST_CLAUSES, java_class
from stepopsd_envs.search_qa.retrieval.wire import searchable

K1, B = 0.9, 0.4  # pyserini's defaults
MANY = 16  # number of queries from which starting Java threads is worthwhile


class LuceneRetriever:
    """Searches a folder with a Lucene index.

    Args:
        folder: folder of the index.
        corpus: fingerprint of the passages in it.
        k1, b: parameters of BM25.
        threads: number of queries that are searched in parallel; None: all that this process may use.

    Raises:
        DependencyNotInstalled: Java, pyserini or pyjnius is missing.
    """

    def __init__(
        self, folder: str | Path, corpus: str, k1: float = K1, b: float = B, threads: int | None = None
    ) -> None:
        java_class("org.apache.lucene.search.IndexSearcher").setMaxClauseCount(MOST_CLAUSES)
        from jnius import JavaException  # installed, since java_class succeeded

        self._error: type[Exception] = JavaException
        self._list = java_class("java.util.ArrayList")
        self._searcher = java_class("io.anserini.search.SimpleSearcher")(str(folder))
        self._searcher.set_bm25(k1, b)
        self._threads = threads or allowed_threads()
        self._open = True
        self.passages = int(self._searcher.get_total_num_docs())
        self.fingerprint = fingerprint([("lucene", corpus), ("bm25", f"k1={k1} b={b}")])

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """For each query the best passages; none for a query without index terms."""
        require_k(k)
        if not self._open:
            raise RetrieverError("the Lucene index is closed; open it again", transient=False)
        words = [searchable(query) for query in queries]
        try:
            if len(words) < MANY:
                return [[_passage(hit) for hit in self._searcher.search(query, k)] for query in words]
            return self._together(words, k)
        except self._error as error:
            raise RetrieverError(f"Lucene cannot answer: {error}", transient=False) from error

    def close(self) -> None:
        """Close the index; Java stays until the process ends."""
        if self._open:
            self._open = False
            self._searcher.close()

    def _together(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        texts, names = self._list(), self._list()
        for number, query in enumerate(queries):
            texts.add(query)
            names.add(str(number))
        results = self._searcher.batch_search(texts, names, k, self._threads)
        hits_of = [results.get(str(number)) or () for number in range(len(queries))]
        return [[_passage(hit) for hit in hits] for hits in hits_of]


def _passage(hit: Any) -> Passage:
    raw = hit.lucene_document.get("raw")
    if raw is None:
        raise RetrieverError(
            "the Lucene index does not hold the passages' texts; use an index that does (not a 'slim' one)",
            transient=False,
        )
    passage = passage_of({**json.loads(raw), "id": hit.docid})
    return Passage(passage.id, passage.title, passage.text, float(hit.score))
