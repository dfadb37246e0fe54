"""Records that somebody has changed: readers say what is wrong, and where, in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stepopsd_wrappers import Episode, EpisodeFormatError, read_episodes
from tests.helpers.command_line import run
from tests.helpers.text_env import make_episode

Change = Callable[[dict[str, Any]], object]
CHANGES: list[tuple[str, Change]] = [
    (r"steps\[2\]\.info has no won", lambda record: record["steps"][2]["info"].pop("won")),
    (r"steps\[0\]\.info has no task_type", lambda record: record["steps"][0]["info"].pop("task_type")),
    (r"steps\[1\]\.info\.step is None", lambda record: record["steps"][1]["info"].pop("step")),
    (r"steps\[1\]\.info\.step is \[\]", lambda record: record["steps"][1]["info"].update(step=[])),
    (r"steps\[0\]\.info\.step is .*not the StepInfo of step 0", lambda record: record["steps"].reverse()),
    (r"NaN is no number of JSON", lambda record: record["steps"][1].update(reward=float("nan"))),
    (r"Infinity is no number of JSON", lambda record: record["steps"][1]["info"].update(x=[float("-inf")])),
    (r"env_spec: got \[\], expected a record", lambda record: record.update(env_spec={})),
    (r"env_spec\.kwargs: got NoneType", lambda record: record["env_spec"].update(kwargs=None)),
]


@pytest.mark.parametrize(("message", "change"), CHANGES, ids=[message for message, _ in CHANGES])
def test_a_changed_record_is_refused_with_what_is_wrong(message: str, change: Change) -> None:
    """Else tables, pages and exports would each meet it in their own way, without file and line."""
    record = json.loads(make_episode(num_steps=2).to_json())
    change(record)
    with pytest.raises(EpisodeFormatError, match=message):
        Episode.from_json(json.dumps(record))


def test_a_reward_beyond_all_numbers_is_refused() -> None:
    """JSON may hold 1e999, which is infinite once it is read."""
    line = make_episode(num_steps=1).to_json().replace('"reward":0.1', '"reward":1e999')
    with pytest.raises(EpisodeFormatError, match=r"steps\[1\]\.reward: got inf"):
        Episode.from_json(line)


@pytest.mark.parametrize("place", [0, 1])
def test_a_line_that_is_nested_too_deep_is_no_episode(
    tmp_path: Path, place: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the middle it is named; at the end it counts as unfinished, like other lines that are no JSON."""
    lines = [make_episode(number).to_json() for number in range(2)]
    lines[place] = "[" * 100_000
    (tmp_path / "episodes-00000.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
    if place:
        with pytest.warns(RuntimeWarning, match="unfinished last line"):
            assert len(list(read_episodes(tmp_path))) == 1
        return
    with pytest.raises(EpisodeFormatError, match=r"line 1: not JSON \(it is nested too deep\)"):
        list(read_episodes(tmp_path))
    assert run("view", str(tmp_path), "--text") == 2
    assert "line 1: not JSON" in capsys.readouterr().err
