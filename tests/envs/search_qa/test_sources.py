"""What environments share: questions, worlds and retrievers, opened once and closed by the last."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from gymnasium.error import ClosedEnvironmentError

from stepopsd_envs.search_qa import sources
from stepopsd_envs.search_qa.env import SearchQAEnv
from stepopsd_envs.search_qa.retrieval.base import Passage, Retriever
from stepopsd_envs.search_qa.retrieval.cache import CachedRetriever
from stepopsd_envs.search_qa.sources import given_passages, lend_library
from stepopsd_envs.search_qa.world import make_world, worlds_of
from stepopsd_envs.search_qa.world_set import OneWorld, world_index
from tests.helpers.search_qa import PASSAGES, Library, search, write_rows


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None, Library]]:
    """What was opened, each a library that notes whether it was closed."""
    calls: list[tuple[str, str | None, Library]] = []

    def open_retriever(spec: str, corpus: str | None) -> Retriever:
        calls.append((spec, corpus, Library()))
        return calls[-1][2]

    monkeypatch.setattr(sources, "open_retriever", open_retriever)
    return calls


def file_env(folder: Path, **kwargs: Any) -> SearchQAEnv:
    """An environment on a file of questions."""
    return SearchQAEnv(questions=write_rows(folder / "questions.jsonl"), **kwargs)


def write_corpus(path: Path) -> Path:
    """The library's passages as a corpus."""
    return write_rows(path, [{"id": p.id, "title": p.title, "text": p.text} for p in PASSAGES])


def test_environments_share_a_retriever(tmp_path: Path, opened: list[Any]) -> None:
    """And what one has asked, the other need not; the last to close closes it."""
    one, other = (file_env(tmp_path, retriever="http://127.0.0.1:9") for _ in range(2))
    for env in (one, other):
        env.reset(seed=0)
        env.step(search("Wend"))
    ((spec, corpus, library),) = opened
    assert (spec, corpus) == ("http://127.0.0.1:9", None)
    assert library.asked == ["Wend"]
    one.close()
    one.close()
    assert library.closed == 0
    other.close()
    assert library.closed == 1


def test_other_settings_open_another_retriever(tmp_path: Path, opened: list[Any]) -> None:
    """By what is searched and how, not by the questions."""
    for kwargs in ({"corpus": "a"}, {"corpus": "b"}, {"corpus": "a", "retriever": "lucene"}, {"corpus": "a"}):
        file_env(tmp_path, **kwargs)
    assert [call[:2] for call in opened] == [("bm25", "a"), ("bm25", "b"), ("lucene", "a")]


def test_copy_opens_for_itself(tmp_path: Path, opened: list[Any]) -> None:
    """Its episode goes on when the environment that it was copied from is closed."""
    env = file_env(tmp_path, retriever="http://127.0.0.1:10")
    env.reset(seed=0)
    copy = pickle.loads(pickle.dumps(env))
    env.close()
    assert opened[0][2].closed == 1
    with pytest.raises(ClosedEnvironmentError, match="is closed"):
        env.step(search("Wend"))
    assert len(opened) == 1
    copy.step(search("Brenk"))
    assert len(opened) == 2
    copy.close()
    assert opened[1][2].closed == 1


def test_failure_to_open_is_told_at_once_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next environment tries again."""

    def open_retriever(spec: str, corpus: str | None) -> Retriever:
        raise ValueError("no such index")

    monkeypatch.setattr(sources, "open_retriever", open_retriever)
    for _ in range(2):
        with pytest.raises(ValueError, match="no such index"):
            file_env(tmp_path, corpus="none")


def test_corpus_file_is_searched(tmp_path: Path) -> None:
    """With the default retriever."""
    env = file_env(tmp_path, corpus=write_corpus(tmp_path / "corpus.jsonl"))
    env.reset(seed=0, options={"question": "q3"})
    info = env.step(search("How long is the river Wend?"))[-1]
    assert "wend" in info["retrieved"] and info["gold_seen"] == 1.0
    env.close()


def test_corpus_that_was_changed_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though an older environment is still open; so is another file of the same name in another folder."""
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        write_rows(tmp_path / place / "corpus.jsonl", [{"id": place, "text": f"Wend is in {place}"}])
    monkeypatch.chdir(tmp_path / "a")
    made = [file_env(tmp_path, corpus="corpus.jsonl")]
    write_rows(tmp_path / "a" / "corpus.jsonl", [{"id": "changed", "text": "Wend was in a before"}])
    made.append(file_env(tmp_path, corpus="corpus.jsonl"))
    monkeypatch.chdir(tmp_path / "b")
    made.append(file_env(tmp_path, corpus="corpus.jsonl"))
    found = []
    for env in made:
        env.reset(seed=0)
        found += env.step(search("Wend"))[4]["retrieved"]
    assert found == ["a", "changed", "b"]
    assert len({env.engine_version for env in made}) == 3


def test_copies_search_the_same_corpus_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They open it again, and so do the environments of a vector environment but the first."""
    monkeypatch.chdir(tmp_path)
    write_corpus(Path("corpus.jsonl"))
    env = file_env(tmp_path, corpus="corpus.jsonl")
    env.reset(seed=0)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir("other")
    for again in (copy.copy(env), copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        assert again.step(search("Wend"))[4]["retrieved"]


def test_synthetic_world_is_searched_by_other_retrievers(
    tmp_path: Path, opened: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through a file of its passages in the cache folder, written once; a server searches what it has."""
    monkeypatch.setenv("STEPOPSD_CACHE", str(tmp_path))
    for retriever in ("lucene", "dense", "http://127.0.0.1:11"):
        SearchQAEnv(tier="tiny", retriever=retriever).close()
    assert [spec for spec, _, _ in opened] == ["lucene", "dense", "http://127.0.0.1:11"]
    (file,) = (tmp_path / "worlds").iterdir()
    assert [corpus for _, corpus, _ in opened] == [str(file), str(file), None]
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    worlds = [make_world("tiny", "train", number) for number in worlds_of("tiny", "train")]
    assert [Passage(**row) for row in rows] == [passage for world in worlds for passage in world.passages]


def test_given_passages_are_those_of_the_world() -> None:
    """In the order of their ids' list; other questions have none."""
    world = make_world("tiny", "test")
    ids = tuple(passage.id for passage in world.passages[3:1:-1])
    assert given_passages("synthetic", "tiny", "test", ids) == world.passages[3:1:-1]
    assert given_passages("synthetic", "tiny", "test", ()) == given_passages("nq", "tiny", "test", ids) == ()


def test_world_is_indexed_once() -> None:
    """Runs open and close environments all the time."""
    for _ in range(2):
        lease = lend_library("bm25", None, "synthetic", "tiny", "train")
        assert isinstance(lease.library.of("synthetic/tiny/train/001/00000"), CachedRetriever)
        lease.close()
    assert world_index("tiny", "train", 1) is world_index("tiny", "train", 1)


def test_question_is_asked_of_its_own_world() -> None:
    """The same name is somebody else in another world; all have one fingerprint."""
    env = SearchQAEnv(tier="tiny", topk=5)
    versions = set()
    for number in worlds_of("tiny", "train"):
        env.reset(options={"question": f"synthetic/tiny/train/{number:03d}/00003"})
        found = env.step(search(env.question.question))[-1]["retrieved"]
        assert len(found) == 5
        assert all(name.startswith(f"synthetic/tiny/train/{number:03d}/") for name in found)
        versions.add(env.engine_version)
    assert len(versions) == 1


def test_passages_of_other_worlds_do_not_count() -> None:
    """A retriever over all worlds is asked for more until there are enough of one."""
    worlds = [make_world("tiny", "train", number) for number in worlds_of("tiny", "train")]
    everything = Library([passage for world in worlds for passage in world.passages])
    last = worlds[-1]
    (found,) = OneWorld(everything, last).search(["born"], 3)
    assert [passage.id for passage in found] == [p.id for p in last.passages if "born" in p.text][:3]
    assert len(everything.asked) > 1
    assert OneWorld(everything, last).search(["xyzzy"], 3) == [[]]
