"""Recorded episodes in the formats of other projects, and back where these can be read."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stepopsd_wrappers import Episode, EpisodeFormatError
from stepopsd_wrappers.chat_export import messages_of, sft_rows, verl_rows, write_jsonl
from stepopsd_wrappers.minari_export import write_minari
from stepopsd_wrappers.parquet_export import read_parquet, write_parquet, write_rows
from tests.helpers.text_env import ENV_ID, make_episode

WITHOUT = "needs {} (extra export), which is not installed"


def package(name: str) -> Any:
    """The package, or a skipped test."""
    return pytest.importorskip(name, reason=WITHOUT.format(name))


def played(number: int = 0, num_steps: int = 2) -> Episode:
    """An episode with the facts that every environment tells, and texts that are hard to keep."""
    episode = make_episode(number, num_steps, response='go "right"\n\u4e2d \u202e')
    facts = {"kind": "act", "valid": True}
    steps = [replace(s, info={**s.info, "step": {**s.info["step"], **facts}}) for s in episode.steps]
    return replace(episode, steps=tuple(steps))


def test_messages_alternate_and_end_with_the_assistant() -> None:
    """The last observation has no answer; the system message comes first."""
    chat = messages_of(played(num_steps=2), "Play.")
    assert [one["role"] for one in chat] == ["system", "user", "assistant", "user", "assistant"]
    assert chat[1]["content"] == "You stand at 0." and chat[3]["content"] == "You stand at 1."
    assert chat[2]["content"] == played().steps[1].response
    assert messages_of(played(num_steps=0)) == [{"role": "user", "content": "You stand at 0."}]


def test_sft_is_one_chat_per_line(tmp_path: Path) -> None:
    """Texts come back as they were; an episode without a step has nothing to learn from."""
    path = tmp_path / "chats.jsonl"
    assert write_jsonl(sft_rows([played(0), played(1, num_steps=0), played(2)]), path) == 2
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows[0]["messages"] == messages_of(played(0)) and rows[0]["task_id"] == "corridor/2"
    assert rows[0]["success"] is False and rows[0]["episode_return"] == pytest.approx(0.3)


def test_sft_is_read_by_datasets_and_a_chat_template(tmp_path: Path) -> None:
    """As TRL reads it: a column of messages with role and content."""
    datasets = package("datasets")
    path = tmp_path / "chats.jsonl"
    write_jsonl(sft_rows([played(k) for k in range(3)], "Play."), path)
    rows = datasets.load_dataset("json", data_files=str(path), cache_dir=str(tmp_path / "cache"))["train"]
    assert [list(row["messages"]) for row in rows] == [messages_of(played(k), "Play.") for k in range(3)]


def test_parquet_gives_the_same_episodes_back(tmp_path: Path) -> None:
    """Tokens, infos, errors, and episodes without tokens; more than one row group."""
    package("pyarrow")
    failed = played(1)
    last = replace(failed.steps[-1], error="ValueError: broken", info={}, tokens=None)
    failed = replace(failed, steps=(*failed.steps[:-1], last), closed_early=True, engine_version="e/1")
    episodes = [played(0), failed, *(played(k, num_steps=k % 4) for k in range(2, 80))]
    path = tmp_path / "steps.parquet"
    assert write_parquet(iter(episodes), path) == 80
    assert list(read_parquet(path)) == episodes


def test_parquet_has_columns_to_filter_by(tmp_path: Path) -> None:
    """A row per step, the reset included."""
    package("pyarrow")
    from pyarrow import parquet

    write_parquet([played(0), played(1)], tmp_path / "steps.parquet")
    rows = parquet.read_table(tmp_path / "steps.parquet").to_pylist()
    assert [(row["episode"], row["index"]) for row in rows] == [(e, k) for e in range(2) for k in range(3)]
    assert rows[0]["sampled_ids"] is None and rows[1]["sampled_ids"] == [0, 1, 2]
    assert {row["task_type"] for row in rows} == {"walk_and_open"} and rows[1]["valid"] is True


def test_parquet_names_text_that_it_cannot_hold(tmp_path: Path) -> None:
    """Half of a surrogate pair is no UTF-8."""
    package("pyarrow")
    broken = replace(played(), task_id="\ud800")
    with pytest.raises(EpisodeFormatError, match="among numbers 0 to 0 holds text that is no UTF-8"):
        write_parquet([broken], tmp_path / "steps.parquet")


def broken_text() -> Episode:
    """An episode whose first response holds half of a surrogate pair."""
    reset, first, *others = played().steps
    return replace(played(), steps=(reset, replace(first, response="go \ud800"), *others))


def test_chats_hold_nothing_that_their_readers_refuse(tmp_path: Path) -> None:
    """One such text would make the whole file unreadable."""
    package("datasets")
    import datasets

    write_jsonl(sft_rows([broken_text(), played()]), tmp_path / "chats.jsonl")
    cache = str(tmp_path / "cache")
    rows = datasets.load_dataset(
        "json", data_files=str(tmp_path / "chats.jsonl"), split="train", cache_dir=cache
    )
    assert rows[0]["messages"][1]["content"] == "go \ufffd" and len(rows) == 2
    package("pyarrow")
    assert write_rows(verl_rows([broken_text()]), tmp_path / "rows.parquet") == 1


def test_minari_names_text_that_it_cannot_hold(tmp_path: Path) -> None:
    """And writes nothing, not even an empty data set."""
    package("minari")
    package("pyarrow")
    with pytest.raises(ValueError, match=r"episode 1 .* holds text that is no UTF-8"):
        write_minari([played(), broken_text()], tmp_path / "tiny-v0")
    assert not list(tmp_path.iterdir())


def test_verl_rows_have_the_columns_of_its_data_sets(tmp_path: Path) -> None:
    """The prompt is the opening; what begins the task again stands beside it."""
    (row,) = verl_rows([played()], "Play.")
    assert {"data_source", "prompt", "ability", "reward_model", "extra_info"} <= row.keys()
    assert row["prompt"] == messages_of(played(), "Play.")[:2] and row["data_source"] == ENV_ID
    assert row["reward_model"] == {"style": "rule", "ground_truth": "corridor/2"}
    package("pyarrow")
    from pyarrow import parquet

    assert write_rows([row], tmp_path / "rows.parquet") == 1
    assert parquet.read_table(tmp_path / "rows.parquet").to_pylist() == [row]


def test_minari_reads_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Observations one more than actions; the spaces hold the texts; the environment can be made again."""
    minari = package("minari")
    package("pyarrow")
    episodes = [played(0), played(1, num_steps=3), played(2, num_steps=0)]
    assert write_minari(iter(episodes), tmp_path / "corridor-v0") == 2
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    found = minari.load_dataset("corridor-v0")
    assert found.total_episodes == 2 and found.total_steps == 5
    for read, episode in zip(found.iterate_episodes(), episodes, strict=False):
        assert list(read.observations) == [step.observation for step in episode.steps]
        assert list(read.actions) == [step.action for step in episode.steps[1:]]
        assert read.rewards.tolist() == [step.reward for step in episode.steps[1:]]
        assert list(read.infos["response"]) == [step.response for step in episode.steps]
        assert all(text in found.observation_space for text in read.observations)
    assert found.recover_environment(eval_env=True).spec.id == ENV_ID


def test_minari_writes_where_a_relative_path_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the example of the docs: ``--out datasets/expert-v0``."""
    package("minari")
    package("pyarrow")
    monkeypatch.chdir(tmp_path)
    Path("datasets").mkdir()
    assert write_minari([played()], Path("datasets/corridor-v0")) == 1
    assert (tmp_path / "datasets" / "corridor-v0" / "data").is_dir()


def test_minari_refuses_a_name_without_a_version(tmp_path: Path) -> None:
    """Before anything is imported."""
    with pytest.raises(ValueError, match="end it in a version, as in 'tiny-v0'"):
        write_minari([], tmp_path / "corridor")
