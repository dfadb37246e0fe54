"""Lucene: Java is found, the index is built and resumed, and searches come from a process of its own."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from gymnasium.error import DependencyNotInstalled

from stepopsd_envs.extras import install_command
from stepopsd_envs.search_qa.retrieval import java, lucene_index
from stepopsd_envs.search_qa.retrieval.base import Retriever
from stepopsd_envs.search_qa.retrieval.errors import IndexFolderError, IndexingError
from stepopsd_envs.search_qa.retrieval.index import build_index, open_index, prebuilt_index
from stepopsd_envs.search_qa.retrieval.index_folder import PLAN, read_manifest
from stepopsd_envs.search_qa.retrieval.index_settings import IndexSettings
from stepopsd_envs.search_qa.retrieval.java import find_jar, find_java
from stepopsd_envs.search_qa.retrieval.opening import open_retriever
from tests.helpers.retrieval import many, rows, write_corpus

ROOT = Path(__file__).parents[3]
LUCENE = IndexSettings("lucene")
PARTS = ("pyserini", "jnius", "uvicorn")
needs_lucene = pytest.mark.skipif(
    any(importlib.util.find_spec(part) is None for part in PARTS),
    reason="the extra search is not installed: no Lucene",
)


def make_java(home: Path, version: str) -> Path:
    """A folder that looks like an installed Java."""
    (home / "bin").mkdir(parents=True)
    (home / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    (home / "bin" / "java").write_text("#!/bin/sh\n")
    (home / "bin" / "java").chmod(0o755)
    return home


def test_java_is_taken_from_its_variable_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is new enough; else from the search path."""
    old, new, newer = (make_java(tmp_path / v, v) for v in ("17.0.15", "21.0.2", "25"))
    monkeypatch.setenv("JAVA_HOME", str(newer))
    monkeypatch.setenv("PATH", str(new / "bin"))
    assert find_java() == java.Java(newer, 25)
    monkeypatch.setenv("JAVA_HOME", str(old))
    assert find_java() == java.Java(new, 21)
    monkeypatch.delenv("JAVA_HOME")
    assert find_java().program == new / "bin" / "java"


def test_java_that_is_too_old_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what would do."""
    old = make_java(tmp_path / "17", "17.0.15")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(old / "bin"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DependencyNotInstalled, match=r"Java 21 or newer") as error:
        find_java()
    assert f"{old} (Java 17)" in str(error.value) and "none (no Java)" in str(error.value)
    with pytest.raises(DependencyNotInstalled, match=re.escape(install_command("search"))):
        find_jar()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shelf among other things, indexed."""
    folder = tmp_path_factory.mktemp("lucene")
    corpus = write_corpus(folder / "corpus.jsonl", [*rows(), *many(300)])
    build_index(corpus, folder / "index", LUCENE)
    return folder / "index"


@pytest.fixture(scope="module")
def served(index: Path) -> Iterator[Retriever]:
    """The index in a server."""
    retriever = open_retriever("lucene", str(index))
    yield retriever
    retriever.close()


@needs_lucene
def test_lucene_finds_what_fits(served: Retriever) -> None:
    """Stemmed, best first, with title and text apart."""
    (found,) = served.search(["foxes that live in a forest"], 3)
    assert (found[0].id, found[0].title) == ("p1", "Red Fox")
    assert found[0].text == "The red fox lives in forests and eats mice."
    assert all(one.score >= other.score for one, other in pairwise(found))


@needs_lucene
def test_lucene_answers_alone_as_in_a_batch(served: Retriever) -> None:
    """Java's threads give the same answers in the same order."""
    queries = [f"number{k} group{k % 7}" for k in range(60)]
    assert served.search(queries, 5) == [served.search([query], 5)[0] for query in queries]


@needs_lucene
@pytest.mark.parametrize(
    "query", ["", "the of", "\x00\x01", "\ud800", "(+*:", "</information>", "w " * 9_000, "\u202e fox"]
)
def test_lucene_answers_odd_queries(served: Retriever, query: str) -> None:
    """With nothing rather than with an error."""
    (found,) = served.search([query], 3)
    assert [p.id for p in found] == (["p1"] if "fox" in query else [])


@needs_lucene
def test_lucene_answers_long_queries(served: Retriever) -> None:
    """More different words than Lucene takes by default; more passages than there are."""
    long = " ".join(["fox", *(chr(0x4E00 + k) for k in range(1, 2_000))])
    assert served.search([long], 1)[0][0].id == "p1"
    assert len(served.search(["group3"], 1_000)[0]) == 43


@needs_lucene
def test_lucene_keeps_its_settings(index: Path, tmp_path: Path, served: Retriever) -> None:
    """Pyserini's unless others are given; they are part of the fingerprint and change the scores."""
    assert read_manifest(index).settings == {"k1": 0.9, "b": 0.4}
    build_index(index.parent / "corpus.jsonl", tmp_path / "index", IndexSettings("lucene", k1=1.2, b=0.75))
    other = open_retriever("lucene", str(tmp_path / "index"))
    assert other.fingerprint != served.fingerprint
    assert other.search(["fox"], 1)[0][0].score != served.search(["fox"], 1)[0][0].score
    other.close()


@needs_lucene
def test_killed_build_is_finished_by_the_next(tmp_path: Path) -> None:
    """Killed while Java indexes; what it leaves behind is no index, and is cleaned up."""
    corpus, out = write_corpus(tmp_path / "c.jsonl", many(5_000)), tmp_path / "index"
    script = (
        "import sys; from stepopsd_envs.search_qa.retrieval.index import *;"
        "from stepopsd_envs.search_qa.retrieval.index_settings import *;"
        "build_index(*sys.argv[1:3], IndexSettings('lucene'))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(corpus), str(out)], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    while not list(out.glob("unfinished-*/index/*")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and (out / PLAN).exists()
    with pytest.raises(IndexFolderError, match="half built"):
        open_index(out)
    assert build_index(corpus, out, LUCENE).corpus.passages == 5_000
    assert not list(out.glob("unfinished-*"))


@needs_lucene
def test_indexer_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its last words; the folder is half built."""
    monkeypatch.setattr(lucene_index, "find_jar", lambda: tmp_path / "no.jar")
    corpus = write_corpus(tmp_path / "c.jsonl")
    with pytest.raises(IndexingError, match=r"ended with code 1: .*IndexCollection"):
        build_index(corpus, tmp_path / "index", LUCENE)
    assert [path.name for path in sorted((tmp_path / "index").iterdir())] == [".lock", PLAN]


@needs_lucene
@pytest.mark.slow
def test_prebuilt_index_is_pyserinis(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What its downloader finds in its own folder is used; what it does not know is an error."""
    name = "lucene-index.wikipedia-dpr-100w.20210120.d1b9e6.7b58c08da992b2ea7e96667f0b176651"
    shutil.copytree(index / "lucene", tmp_path / "pyserini" / "indexes" / name)
    monkeypatch.setenv("PYSERINI_CACHE", str(tmp_path / "pyserini"))
    manifest = prebuilt_index("wikipedia-dpr-100w", tmp_path / "index")
    assert manifest.settings["prebuilt"] == "wikipedia-dpr-100w" and manifest.corpus.passages == 21_015_324
    retriever = open_retriever("lucene", str(tmp_path / "index"))
    assert retriever.search(["red fox"], 1)[0][0].id == "p1"
    retriever.close()
    with pytest.raises(IndexingError, match="cannot provide the prebuilt index 'nonsense'"):
        prebuilt_index("nonsense", tmp_path / "other")
    assert "is none of: " in capfd.readouterr().err


PYSERINI = """
import json, sys
from stepopsd_envs.search_qa.retrieval.java import configure_java
configure_java()
from pyserini.search.lucene import LuceneSearcher
searcher = LuceneSearcher(sys.argv[1])
searcher.set_bm25(0.9, 0.4)
queries = json.load(sys.stdin)
print(json.dumps([[(hit.docid, hit.score) for hit in searcher.search(query, 10)] for query in queries]))
"""


@needs_lucene
@pytest.mark.slow
def test_lucene_ranks_as_pyserini_called_directly(index: Path, served: Retriever) -> None:
    """The same passages in the same order with the same scores."""
    queries = [f"thing {k} is like number{k + 3}" for k in range(0, 300, 7)]
    done = subprocess.run(
        [sys.executable, "-c", PYSERINI, str(index / "lucene")],
        env={**java.pyserini_environment(), "PYTHONPATH": str(ROOT), "OPENAI_API_KEY": "none"},
        input=json.dumps(queries),
        capture_output=True,
        text=True,
    )
    expected = json.loads(done.stdout.splitlines()[-1])
    assert [[[p.id, p.score] for p in one] for one in served.search(queries, 10)] == expected
