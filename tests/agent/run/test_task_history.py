"""The past of tasks in a run: known from update to update, through checkpoints, and never learned from."""

from pathlib import Path
from typing import Any

import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.batch import collate
from stepopsd_agent.cli.checks import UsageError, check_numbers
from stepopsd_agent.credit import CreditMethod
from stepopsd_agent.run import Trainer, score_records
from stepopsd_agent.run.files.checkpoint import load_checkpoint, save_checkpoint
from stepopsd_agent.run.trainer_state import restore_trainer, trainer_state, trainer_tensors
from stepopsd_envs.step_info import hash_number
from stepopsd_wrappers import Episode
from tests.helpers.runs import run_config, taught

pytestmark = pytest.mark.samples


HISTORIANS = [credit.make("tigpo"), credit.make("path_gain", lifted=True)]


def trainer(method: CreditMethod, **rollout: Any) -> Trainer:
    """A run that has not begun, of two games, or of one where nothing else is said."""
    games = rollout.pop("games", 1)
    return Trainer(run_config(env={"num_games": games}, rollout=rollout), method, taught())


def walked(episodes: list[Episode]) -> set[tuple[int, int, bool]]:
    """Anchor before, anchor after and whether it won, of every step, in plain Python."""
    found = set()
    for episode in episodes:
        keys = [hash_number(step.info["step"]["anchor"]) for step in episode.steps]
        for place in range(1, len(keys)):
            won = episode.success and place == len(keys) - 1
            found.add((keys[place - 1], keys[place], won))
    return found


def test_an_update_knows_the_steps_of_all_before_and_the_returns_of_the_last() -> None:
    """Three updates of one game; the tokens of a batch are those of its own update alone."""
    one = trainer(credit.make("tigpo"))
    earlier: list[list[Episode]] = []
    for _ in range(3):
        episodes, metrics, _ = one.step()
        assert metrics["credit/groups_played_before"] == float(bool(earlier))
        earlier.append(episodes)
        chosen = one.chosen(one.collect())  # of the next update
        batch = one.score(chosen)
        assert batch.past is not None and batch.past.anchor is not None and batch.past.next_anchor is not None
        columns = (batch.past.anchor, batch.past.next_anchor, batch.past.won, batch.past.group_of_step)
        rows = list(zip(*(column.tolist() for column in columns), strict=True))
        for group in (0, 1):  # both groups play the game
            known = [row[:3] for row in rows if row[3] == group]
            assert len(known) == len(set(known))
            assert set(known) == set().union(*map(walked, earlier))
        assert batch.past.episode_return.tolist() == [e.episode_return for e in episodes] * 2
        assert torch.equal(batch.tokens.input_ids, collate(chosen, one.policy.pad_id).tokens.input_ids)


def test_a_method_without_a_past_keeps_none() -> None:
    """Nothing is held for it, and nothing is in its checkpoints."""
    one = trainer(credit.make("graph_gpo"))
    one.step()
    assert one.history is None and "history" not in trainer_tensors(one)
    assert trainer_state(one)["history"] == {}
    with pytest.raises(ValueError, match="resume with the credit method of the run that wrote it"):
        restore_trainer(trainer(credit.make("tigpo")), trainer_tensors(one), trainer_state(one))


@pytest.mark.parametrize("method", HISTORIANS)
def test_a_run_goes_on_from_a_checkpoint_as_if_never_interrupted(
    tmp_path: Path, method: CreditMethod
) -> None:
    """With revisits: records, metrics, weights and history, through the files of a checkpoint."""
    rollout = {"games": 3, "revisit_share": 0.5, "revisit_after": 1}
    whole, begun, resumed = (trainer(method, **rollout) for _ in range(3))
    expected = [whole.step()[:2] for _ in range(4)]
    for _ in range(2):
        begun.step()
    path = save_checkpoint(
        tmp_path, update=1, tensors=trainer_tensors(begun), state={"trainer": trainer_state(begun)}
    )
    tensors, state = load_checkpoint(path)
    restore_trainer(resumed, tensors, state["trainer"])
    assert [resumed.step()[:2] for _ in range(2)] == expected[2:]
    assert trainer_state(resumed)["history"] == trainer_state(whole)["history"]
    for name, group in trainer_tensors(whole).items():
        assert all(torch.equal(tensor, trainer_tensors(resumed)[name][key]) for key, tensor in group.items())
    tasks = [list(dict.fromkeys(episode.task_id for episode in episodes)) for episodes, _ in expected]
    assert tasks[1][1] == tasks[0][0] and tasks[2][1] == tasks[1][0]


@pytest.mark.parametrize("method", HISTORIANS)
def test_recorded_updates_are_scored_with_those_before_as_their_past(method: CreditMethod) -> None:
    """As the run itself did: the credit of a run's records is the credit that it learned from."""
    one = trainer(method)
    records, expected = [], list[float]()
    for _ in range(2):
        episodes = one.chosen(one.collect())
        batch = one.score(episodes)
        result = method(batch)
        expected += result.advantages[batch.action_mask].tolist()
        records += episodes
        one.step()
    scored = score_records(records, one.config, method, {"name": "any"}, None)
    found = [value for record in scored.records for step in record["steps"] for value in step["tokens"]]
    assert found == expected
    if "past" in method.needs:
        alone = score_records(records[8:], one.config, method, {"name": "any"}, None)
        assert alone.records != scored.records[8:]


@pytest.mark.parametrize("share", [0.1, 1.5])
def test_revisits_of_no_group_and_of_more_than_all_are_refused(share: float) -> None:
    """Before anything is played: 0.1 of two groups is none."""
    with pytest.raises(UsageError, match=rf"rollout\.revisit_share is {share}; give a share, at most 1"):
        check_numbers(run_config(rollout={"revisit_share": share}))
