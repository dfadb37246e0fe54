"""Open a retriever by its name or address."""

from stepopsd_envs.near_names import did_you_mean
from stepopsd_envs.search_qa.retrieval.base import Retriever
from stepopsd_envs.search_qa.retrieval.child import ChildRetriever
from stepopsd_envs.search_qa.retrieval.http import HttpRetriever
from stepopsd_envs.search_qa.retrieval.index import cached_index, open_index, require_corpus
from stepopsd_envs.search_qa.retrieval.index_folder import KINDS, read_manifest

SERVERS = ("http://", "https://")


def open_retriever(spec: str, corpus: str | None = None) -> Retriever:
    """Open a retriever; the caller has to close it.

    BM25 runs in this process; the index of a corpus file is kept in the cache. The other kinds run in a child
    process, a server that is started here and stops with the retriever or with this process.

    Args:
        spec: ``"bm25"``, ``"lucene"``, ``"dense"``, ``"hybrid"``, or the address of a running server.
        corpus: a JSONL file of passages or a folder made by ``stepopsd index``; None for a server.

    Raises:
        ValueError: the name is unknown, there is no corpus, or its index is unusable or of another kind.
        RetrieverError: the server does not start or answer.
    """
    if spec.startswith(SERVERS):
        if corpus is not None:
            raise ValueError(f"retriever={spec!r} searches the server's corpus: leave out corpus={corpus!r}")
        retriever = HttpRetriever(spec)
        _ = retriever.fingerprint  # raises now if the server does not answer
        return retriever
    if spec not in KINDS:
        raise ValueError(
            f"retriever={spec!r}: {did_you_mean(spec, KINDS)}give one of {', '.join(KINDS)}, or http://host:port"
        )
    if corpus is None:
        raise ValueError(
            f"retriever={spec!r} has nothing to search: give corpus=PATH, a JSONL file of passages or a "
            "folder made by `stepopsd index`"
        )
    path = require_corpus(corpus)
    if path.is_dir():
        read_manifest(path, spec)  # raises errors here instead of in the log of a server
    if spec == "bm25":
        return open_index(path if path.is_dir() else cached_index(path, spec), spec)
    return ChildRetriever(path, spec)
