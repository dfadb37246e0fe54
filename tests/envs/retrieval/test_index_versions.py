"""Indexes that another version of this program has left in the cache."""

from pathlib import Path

import pytest

from stepopsd_envs.search_qa.retrieval import bm25, index
from stepopsd_envs.search_qa.retrieval.index import cached_index
from stepopsd_envs.search_qa.retrieval.opening import open_retriever
from tests.helpers.retrieval import write_corpus


def test_cached_index_of_an_older_version_is_not_in_the_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After an upgrade the corpus is indexed anew: nobody knows of the folder in the cache."""
    monkeypatch.setenv("STEPOPSD_CACHE", str(tmp_path / "cache"))
    corpus = write_corpus(tmp_path / "corpus.jsonl")
    with monkeypatch.context() as patch:
        for module in (bm25, index):
            patch.setattr(module, "VERSION", "0", raising=False)
        older = cached_index(corpus, "bm25")
    assert open_retriever("bm25", str(corpus)).search(["fox"], 1)[0][0].id == "p1"
    assert older.is_dir() and cached_index(corpus, "bm25") != older
