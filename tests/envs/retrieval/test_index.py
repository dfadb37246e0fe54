"""Index folders: built, opened, resumed, refused; and the command that makes them."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stepopsd_envs.search_qa.corpus import CorpusFacts, read_corpus
from stepopsd_envs.search_qa.retrieval import index as index_module
from stepopsd_envs.search_qa.retrieval.bm25 import Bm25
from stepopsd_envs.search_qa.retrieval.errors import CorpusError, IndexFolderError
from stepopsd_envs.search_qa.retrieval.index import build_index, cached_index, open_index
from stepopsd_envs.search_qa.retrieval.index_folder import (
    MANIFEST,
    PLAN,
    Manifest,
    begin,
    locked,
    read_manifest,
    write_manifest,
)
from stepopsd_envs.search_qa.retrieval.index_settings import IndexSettings
from stepopsd_envs.search_qa.retrieval.opening import open_retriever
from tests.helpers.command_line import refusal, run
from tests.helpers.retrieval import SHELF, many, rows, write_corpus

ROOT = Path(__file__).parents[3]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """The shelf as a file."""
    return write_corpus(tmp_path / "shelf.jsonl")


def test_index_finds_what_is_in_the_corpus(corpus: Path, tmp_path: Path) -> None:
    """The same as without a folder in between, and the manifest says of what it is."""
    manifest = build_index(corpus, tmp_path / "index")
    direct, opened = Bm25(read_corpus(corpus)), open_index(tmp_path / "index")
    assert opened.search(["red fox", "sea"], 2) == direct.search(["red fox", "sea"], 2)
    assert opened.fingerprint == direct.fingerprint
    assert manifest == read_manifest(tmp_path / "index", "bm25")
    assert (manifest.kind, manifest.corpus.passages) == ("bm25", 4)
    assert manifest.settings == {"k1": 1.5, "b": 0.75}


def test_index_keeps_its_settings(corpus: Path, tmp_path: Path) -> None:
    """They are part of the index, and of its fingerprint."""
    build_index(corpus, tmp_path / "a", IndexSettings(k1=0.9, b=0.4))
    build_index(corpus, tmp_path / "b", IndexSettings(k1=0.9, b=0.5))
    assert read_manifest(tmp_path / "a").settings == {"k1": 0.9, "b": 0.4}
    assert open_index(tmp_path / "a").fingerprint != open_index(tmp_path / "b").fingerprint


def test_progress_is_reported(tmp_path: Path) -> None:
    """Every passage is counted once in each thing that is done, and the total is told when it is known."""
    counts: Counter[tuple[str, int | None]] = Counter()
    corpus = write_corpus(tmp_path / "c.jsonl", many(2_500))
    build_index(corpus, tmp_path / "index", report=lambda what, n, of: counts.update({(what, of): n}))
    assert counts == {("reading the corpus", None): 2_500, ("indexing", 2_500): 2_500}


def test_complete_index_is_left_alone(corpus: Path, tmp_path: Path) -> None:
    """Building it again writes nothing."""
    build_index(corpus, tmp_path / "index")
    before = {
        path.name: path.stat().st_mtime_ns for path in (tmp_path / "index").iterdir() if path.name != ".lock"
    }
    build_index(corpus, tmp_path / "index")
    after = {
        path.name: path.stat().st_mtime_ns for path in (tmp_path / "index").iterdir() if path.name != ".lock"
    }
    assert after == before


def test_other_index_in_the_folder_is_refused(corpus: Path, tmp_path: Path) -> None:
    """Of another corpus, with other settings or of another kind: by what sets them apart."""
    out = tmp_path / "index"
    build_index(corpus, out)
    other = write_corpus(tmp_path / "other.jsonl", rows(SHELF[:3]))
    with pytest.raises(IndexFolderError, match=r"of another corpus \(4 passages, not 3\)"):
        build_index(other, out)
    with pytest.raises(IndexFolderError, match=r"k1 is 1.5, not 2.0"):
        build_index(corpus, out, IndexSettings(k1=2.0))
    with pytest.raises(IndexFolderError, match="its kind is 'bm25', not 'lucene'"):
        build_index(corpus, out, IndexSettings("lucene"))


def test_half_built_index_is_refused_and_finished(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same command; another one is told that there is a half-built one."""
    out = tmp_path / "index"

    def killed(index: Bm25, folder: Path) -> None:
        (folder / "terms.json").write_text("half of it")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Bm25, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            build_index(corpus, out)
    with pytest.raises(IndexFolderError, match="half built; run the same stepopsd index command again"):
        open_index(out)
    with pytest.raises(IndexFolderError, match="half built"):
        open_retriever("bm25", str(out))
    with pytest.raises(IndexFolderError, match="half-built index: k1 is"):
        build_index(corpus, out, IndexSettings(k1=2.0))
    build_index(corpus, out)
    assert open_index(out).search(["fox"], 1)[0][0].id == "p1"
    assert not (out / PLAN).exists()


def test_killed_build_is_finished_by_the_next(tmp_path: Path) -> None:
    """Killed for good, in a process of its own, at whatever point it was."""
    corpus, out = write_corpus(tmp_path / "c.jsonl", many(30_000)), tmp_path / "index"
    script = "import sys; from stepopsd_envs.search_qa.retrieval.index import *; build_index(*sys.argv[1:])"
    command = [sys.executable, "-c", script, str(corpus), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment)
    while not (out / PLAN).exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    with pytest.raises(IndexFolderError, match="half built"):
        open_index(out)
    build_index(corpus, out)
    assert {p.id for p in open_index(out).search(["number77"], 2)[0]} == {"n76", "n77"}


def test_damaged_index_is_refused(corpus: Path, tmp_path: Path) -> None:
    """A file that is missing, cut off or changed; a manifest that is none or of another version."""
    build_index(corpus, tmp_path / "good")
    content = (tmp_path / "good" / "terms.json").read_bytes()
    damages: list[tuple[str, str, bytes | None]] = [
        ("is missing", "terms.json", None),
        ("another size", "terms.json", content[:-3]),
        ("index", "terms.json", content.replace(b"fox", b"fix")),
        ("manifest.json is damaged", MANIFEST, b"{"),
        ("has schema 'x/9'", MANIFEST, b'{"schema": "x/9"}'),
    ]
    for number, (problem, name, damaged) in enumerate(damages):
        folder = tmp_path / f"bad{number}"
        shutil.copytree(tmp_path / "good", folder)
        (folder / name).unlink()
        if damaged is not None:
            (folder / name).write_bytes(damaged)
        with pytest.raises(IndexFolderError, match=problem):
            open_index(folder)


def _replace(path: Path, old: bytes, new: bytes) -> None:
    path.write_bytes(path.read_bytes().replace(old, new))


def test_folder_without_an_index_is_refused(corpus: Path, tmp_path: Path) -> None:
    """With the command that makes one; nothing is written into a folder that holds other things."""
    with pytest.raises(IndexFolderError, match="is no folder; build an index: stepopsd index"):
        open_index(tmp_path / "none")
    with pytest.raises(IndexFolderError, match="holds no index"):
        open_index(tmp_path)
    with pytest.raises(IndexFolderError, match="is not empty and holds no index"):
        build_index(corpus, tmp_path)


def test_bad_corpus_leaves_no_index(tmp_path: Path) -> None:
    """The folder can be used again when the corpus is good."""
    path, out = tmp_path / "c.jsonl", tmp_path / "index"
    path.write_text('{"id": "a", "text": "b"}\n{"id": "a", "text": "c"}\n')
    with pytest.raises(CorpusError, match="repeat the id of another one"):
        build_index(path, out)
    build_index(write_corpus(path), out)


def test_two_builds_of_one_folder_are_kept_apart(corpus: Path, tmp_path: Path) -> None:
    """The second is refused, or waits where that is asked for."""
    out = tmp_path / "index"
    out.mkdir()
    with locked(out, wait=False):
        with pytest.raises(IndexFolderError, match="another process is building"), locked(out, wait=False):
            pass
        waiting = multiprocessing.get_context("fork").Process(
            target=build_index, args=(corpus, out), kwargs={"wait": True}
        )
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive() and not (out / MANIFEST).exists()
    waiting.join(60)
    assert waiting.exitcode == 0 and read_manifest(out).corpus.passages == 4


@pytest.mark.parametrize(
    "wrong", [{"kind": "best"}, {"search": "fast"}, {"b": 2.0}, {"k1": -1.0}, {"k1": float("nan")}]
)
def test_settings_that_are_none_are_refused(wrong: dict[str, Any]) -> None:
    """With those that there are, and before the corpus is read."""
    with pytest.raises(
        IndexFolderError, match=r"give (one of bm25, lucene|'flat' or 'hnsw'|0 (or more|to 1)$)"
    ):
        IndexSettings(**wrong)


def test_manifest_lists_every_file(tmp_path: Path) -> None:
    """Those of folders in it and behind links, too; not its own."""
    out, linked = tmp_path / "index", tmp_path / "elsewhere"
    for folder in (out, out / "part", linked):
        folder.mkdir()
    plan = Manifest("lucene", CorpusFacts("f", 1), {"k1": 0.9})
    assert begin(out, plan, ["part"]) is None
    (out / "part" / "a").write_text("abc")
    (linked / "b").write_text("b")
    (out / "link").symlink_to(linked)
    assert write_manifest(out, plan).files == {"link/b": 1, "part/a": 3}
    assert json.loads((out / MANIFEST).read_text())["schema"] == "stepopsd.index/1"
    assert begin(out, plan) == read_manifest(out)


def test_corpus_file_is_indexed_once(corpus: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its index lies in the cache, and is made anew when the file changes."""
    monkeypatch.setenv("STEPOPSD_CACHE", str(tmp_path / "cache"))
    folder = cached_index(corpus, "bm25")
    assert folder.is_relative_to(tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr(index_module, "build_index", None)
        assert cached_index(corpus, "bm25") == folder
        assert open_retriever("bm25", str(corpus)).search(["fox"], 1)[0][0].id == "p1"
    write_corpus(corpus, rows(SHELF[1:]))
    assert cached_index(corpus, "bm25") != folder
    assert open_retriever("bm25", str(corpus)).search(["fox"], 1) == [[]]


@pytest.mark.parametrize(
    ("spec", "corpus", "problem"),
    [
        ("best", "x", "give one of bm25, lucene, dense, hybrid, or http://host:port"),
        ("bm25", None, "has nothing to search"),
        ("bm25", "nowhere", "does not exist"),
        ("http://127.0.0.1:1", "x", "leave out corpus='x'"),
        ("http://", None, "is not the address"),
    ],
)
def test_retriever_that_is_none_is_refused(spec: str, corpus: str | None, problem: str) -> None:
    """With what there is."""
    with pytest.raises(ValueError, match=problem):
        open_retriever(spec, corpus)


def test_retriever_of_another_kind_than_its_index_is_refused(corpus: Path, tmp_path: Path) -> None:
    """Here, not in the log of a server."""
    build_index(corpus, tmp_path / "index")
    with pytest.raises(IndexFolderError, match="is of kind 'bm25', not 'dense'"):
        open_retriever("dense", str(tmp_path / "index"))


def test_command_builds_an_index(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what it made and how to serve it; progress is on standard error."""
    out = tmp_path / "index"
    assert run("index", str(corpus), "--out", str(out), "--k1", "0.9") == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == f"bm25 index of 4 passages: {out}"
    assert "indexing: 4/4" in said.err
    assert read_manifest(out).settings["k1"] == 0.9


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ([], "give either a corpus file or --prebuilt NAME"),
        (["{corpus}", "--prebuilt", "x"], "give either a corpus file or --prebuilt NAME"),
        (["--prebuilt", "x", "--kind", "dense"], "prebuilt indexes are of kind lucene"),
        (["nowhere.jsonl"], "nowhere.jsonl cannot be read"),
        (["{corpus}", "--kind", "best"], "kind"),
    ],
)
def test_command_refuses_what_it_cannot_build(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], problem: str
) -> None:
    """In one line."""
    words = [flag.format(corpus=corpus) for flag in flags]
    assert problem in refusal(capsys, "index", *words, "--out", str(tmp_path / "index"))
