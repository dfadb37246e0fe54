"""Fixtures of the retrievers' tests."""

from pathlib import Path

import pytest

from stepopsd_envs.search_qa.retrieval.index import build_index
from tests.helpers.retrieval import write_corpus


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BM25 index of the shelf."""
    folder = tmp_path_factory.mktemp("server")
    build_index(write_corpus(folder / "shelf.jsonl"), folder / "index")
    return folder / "index"
