"""Search-QA through the recorder: records, their replay, and episodes that a retriever broke off."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from stepopsd_envs.search_qa.retrieval.base import RetrieverError
from stepopsd_wrappers import RecordEpisode, read_episodes, replay
from tests.helpers.search_qa import Library, answer, library_env, search, write_rows


def test_recorded_episode_replays_in_every_detail(tmp_path: Path) -> None:
    """From its own record, questions and encyclopedia included; another tier is another thing."""
    env = RecordEpisode(gym.make("stepopsd/SearchQA-v0", tier="tiny", max_turns=3), tmp_path)
    _, info = env.reset(seed=5)
    for action in (search(info["goal"]), "hm", search("\ud800 born"), answer("nobody")):
        env.step(action)
    env.close()
    (episode,) = read_episodes(tmp_path)
    assert [step.info["step"]["kind"] for step in episode.steps[1:]] == [
        "search",
        "invalid",
        "search",
        "answer",
    ]
    assert replay(episode).equal
    with pytest.raises(ValueError, match="fingerprint"):
        replay(episode, gym.make("stepopsd/SearchQA-v0", tier="tiny", split="test"))


def test_changed_question_is_noticed_by_replay(tmp_path: Path) -> None:
    """As a changed game is."""
    file, corpus = tmp_path / "questions.jsonl", tmp_path / "corpus.jsonl"
    write_rows(file, [{"id": "q", "question": "Who?", "golden_answers": ["Ada"]}])
    write_rows(corpus, [{"id": "ada", "title": "Ada", "text": "An engineer."}])
    made: dict[str, Any] = {"questions": str(file), "corpus": str(corpus)}
    env = RecordEpisode(gym.make("stepopsd/SearchQA-v0", **made))
    env.reset(seed=0)
    env.step(answer("Ada"))
    assert env.last_episode is not None and env.last_episode.success
    assert replay(env.last_episode).equal
    write_rows(file, [{"id": "q", "question": "Who?", "golden_answers": ["Zora"]}])
    with pytest.raises(ValueError, match="fingerprint"):
        replay(env.last_episode)


def test_failed_search_is_recorded_with_its_error(tmp_path: Path) -> None:
    """The exception goes on to the caller, the record ends there and is no success; then all goes on."""
    library = Library()
    env = RecordEpisode(library_env(tmp_path, library))
    env.reset(seed=0, options={"question": "q1"})
    env.step(search("Sandor"))
    library.broken = True
    with pytest.raises(RetrieverError):
        env.step(search("Brenk"))
    assert env.last_episode is not None
    last = env.last_episode.steps[-1]
    assert last.error == "RetrieverError: the library is closed"
    assert (last.response, last.info) == (search("Brenk"), {}) and not env.last_episode.success
    library.broken = False
    env.reset(seed=0, options={"question": "q1"})
    env.step(answer("Ada Brenk"))
    assert env.last_episode.success
