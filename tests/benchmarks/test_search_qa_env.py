"""The speed benchmark of Search-QA in small."""

import json
from pathlib import Path

import gymnasium as gym
import pytest

from benchmarks.search_qa import env as searchqa_env
from benchmarks.search_qa.env import ENV_ID, Table, episodes, long_passages, main, measure, steps_per_s
from stepopsd_envs.search_qa.env import SearchQAEnv


def test_episodes_are_what_the_benchmark_says() -> None:
    """One invalid action, three searches with full passages, the right answer."""
    passages = long_passages()
    assert {len(passage.text.split()) for passage in passages} == {100}
    env = SearchQAEnv(retriever=Table(passages))
    (task_id, actions) = episodes(env, 1)[0]
    env.reset(seed=0, options={"question": task_id})
    calls = [env.step(action) for action in actions]
    assert [call[-1]["step"]["kind"] for call in calls] == ["invalid", *["search"] * 3, "answer"]
    assert all(len(call[-1]["retrieved"]) == 3 and len(call[0]) > 1_200 for call in calls[1:4])
    assert calls[-1][2] and calls[-1][1] == 1.0
    assert all(rate > 100 for rate in steps_per_s(gym.make(ENV_ID), [(task_id, actions)], 2))


def test_main_judges_and_writes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By the one target it has."""
    figures = measure(2, 1)
    monkeypatch.setattr(searchqa_env, "measure", lambda *_: figures)
    for rate, code in ((20_000, 0), (19_999, 1)):
        figures["steps_per_s"] = rate
        assert main(["--short", "--json", str(tmp_path / "out.json")]) == code
        written = json.loads((tmp_path / "out.json").read_text())
        assert written["steps_per_s"] == rate and written["missed"] == bool(code) and "commit" in written
