"""From the name of a retriever to one that answers."""

from stepopsd_envs.search_qa.retrieval.base import Retriever
from stepopsd_envs.search_qa.retrieval.child import ChildRetriever
from stepopsd_envs.search_qa.retrieval.http import HttpRetriever
from stepopsd_envs.search_qa.retrieval.index import cached_index, open_index, require_corpus
from stepopsd_envs.search_qa.retrieval.index_folder import KINDS, read_manifest

SERVERS = ("http://", "https://")


def open_retriever(spec: str, corpus: str | None = None) -> Retriever:
    """A retriever, which whoever opened it has to close.

    BM25 runs in this process; the index of a corpus file is kept in the cache. The other kinds run in a
    server process of their own, which starts here and stops with the retriever, or with this process.

    Args:
        spec: ``"bm25"``, ``"lucene"``, ``"dense"``, ``"hybrid"``, or the address of a server that runs.
        corpus: a JSONL file of passages or a folder made by ``stepopsd index``; None for a server.

    Raises:
        ValueError: there is no such retriever, nothing to search, or the wrong index for it.
        RetrieverError: the server cannot be started, or does not answer.
    """
    if spec.startswith(SERVERS):
        if corpus is not None:
            raise ValueError(f"retriever={spec!r} searches what its server has: leave out corpus={corpus!r}")
        retriever = HttpRetriever(spec)
        _ = retriever.fingerprint  # a server that is not there is told now
        return retriever
    if spec not in KINDS:
        raise ValueError(f"retriever={spec!r}: give one of {', '.join(KINDS)}, or http://host:port")
    if corpus is None:
        raise ValueError(
            f"retriever={spec!r} has nothing to search: give corpus=, a JSONL file of passages or a folder "
            "made by `stepopsd index`"
        )
    path = require_corpus(corpus)
    if path.is_dir():
        read_manifest(path, spec)  # what is wrong with it is told here, not in a server's log
    if spec == "bm25":
        return open_index(path if path.is_dir() else cached_index(path, spec), spec)
    return ChildRetriever(path, spec)
