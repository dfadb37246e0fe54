"""The index of a corpus in the cache: beside that of another version of this program, or nowhere."""

from pathlib import Path

import pytest

from stepopsd_envs.search_qa.retrieval import bm25, index
from stepopsd_envs.search_qa.retrieval.errors import IndexFolderError
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


def test_cached_index_says_where_it_cannot_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose home is read-only; what the system says tells nobody what to set."""
    corpus = write_corpus(tmp_path / "my corpus.jsonl")
    (tmp_path / "file").touch()
    monkeypatch.setenv("STEPOPSD_CACHE", str(tmp_path / "file"))
    message = r"cannot be kept in .*: Not a directory; set STEPOPSD_CACHE .*index '.*my corpus.jsonl' --out"
    with pytest.raises(IndexFolderError, match=message):
        open_retriever("bm25", str(corpus))
