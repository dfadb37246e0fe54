"""Names of checkpoints: the updates done, and no name twice."""

from pathlib import Path

import pytest

from stepopsd_agent.run.files import latest_checkpoint, load_checkpoint
from stepopsd_agent.run.files.checkpoint import save_checkpoint
from tests.agent.run.test_checkpoint import example, flip


def test_checkpoint_is_named_by_the_updates_done(tmp_path: Path) -> None:
    """And not by how many were written; the first is written before any update."""
    for update in (0, 20, 40):
        save_checkpoint(tmp_path, update=update, tensors=example(update), state={}, keep=3)
    named = ["checkpoint-000000", "checkpoint-000020", "checkpoint-000040"]
    assert sorted(path.name for path in tmp_path.iterdir()) == named


def test_checkpoint_after_as_many_updates_is_written_beside_the_first(tmp_path: Path) -> None:
    """None is written over, and the last of them is the newest, the tenth as well."""
    save_checkpoint(tmp_path, update=3, tensors=example(), state={"save": 0})
    for save in range(1, 11):
        path = save_checkpoint(tmp_path, update=4, tensors=example(save), state={"save": save})
        assert latest_checkpoint(tmp_path) == path
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-000004-10", "checkpoint-000004-9"]
    assert load_checkpoint(path)[1] == {"save": 10}
    assert save_checkpoint(tmp_path, update=5, tensors={}, state={}).name == "checkpoint-000005"


def test_checkpoint_of_a_run_that_goes_on_from_before_damaged_ones_is_the_newest(tmp_path: Path) -> None:
    """What stood above it is of rows that were cut off: a file that comes back must not bring it back."""
    first, second, third = (
        save_checkpoint(tmp_path, update=update, tensors=example(), state={}, keep=3) for update in (2, 4, 6)
    )
    flip(second / "state.json")
    (third / "state.json").rename(tmp_path / "away")
    with pytest.warns(RuntimeWarning, match="damaged"):
        assert latest_checkpoint(tmp_path) == first
    written = save_checkpoint(tmp_path, update=3, tensors=example(), state={})
    if third.is_dir():
        (tmp_path / "away").rename(third / "state.json")
    assert latest_checkpoint(tmp_path) == written
    assert sorted(tmp_path.glob("checkpoint-*")) == [first, written]


def test_checkpoint_after_a_damaged_one_becomes_the_latest(tmp_path: Path) -> None:
    """A run that went on from the one before writes under a name of its own, above the damaged one."""
    save_checkpoint(tmp_path, update=1, tensors=example(), state={"update": 1})
    flip(save_checkpoint(tmp_path, update=2, tensors=example(), state={"update": 2}) / "model.safetensors")
    newest = save_checkpoint(tmp_path, update=2, tensors=example(), state={"update": 2})
    assert latest_checkpoint(tmp_path) == newest
