"""What is kept of tasks from update to update."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from stepopsd_agent.batch import Batch, Past, collate
from stepopsd_agent.credit import MissingColumnError
from stepopsd_agent.learner import TaskHistory, fill
from stepopsd_agent.tasks import instance_of
from tests.agent.batch.test_batch import two_steps
from tests.agent.credit.test_state_graph import attempt
from tests.helpers.builders import build
from tests.helpers.models import tiny

STATE = frozenset({"past", "next_state"})


def played(*walks: tuple[str, str, bool], group: int = 0) -> tuple[Batch, list[Any]]:
    """A batch of (task, places, won), each task a group, and as much of its records as a history reads."""
    numbers = {name: place for place, name in enumerate(dict.fromkeys(name for name, _, _ in walks))}
    batch = build([attempt(places, won, numbers[name]) for name, places, won in walks])
    return batch, [record(batch, place, name) for place, (name, _, _) in enumerate(walks)]


def record(batch: Batch, number: int, name: str) -> Any:
    """An episode of the batch as an attempt at a task, with the tokens and states of its steps."""
    mine = (batch.steps.episode_of_step == number).nonzero().flatten().tolist()
    assert batch.steps.next_state is not None
    states = [*batch.steps.state[mine].tolist(), int(batch.steps.next_state[mine[-1]])]
    sampled = [batch.tokens.input_ids[batch.tokens.step_of_token == step].tolist() for step in mine]
    tokens = [None, *(SimpleNamespace(sampled_ids=ids, new_row=True) for ids in sampled)]
    infos = [{"step": {"state": f"{state:016x}"}} for state in states]
    steps = [SimpleNamespace(error=None, tokens=t, info=info) for t, info in zip(tokens, infos, strict=True)]
    return SimpleNamespace(env_spec={"id": ""}, task_id=name, steps=steps)


def edges(past: Past, group: int = 0) -> list[tuple[str, str, bool]]:
    """The kept steps of a group, sorted."""
    assert past.state is not None and past.next_state is not None
    columns = (past.group_of_step, past.state, past.next_state, past.won)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return sorted((chr(before), chr(after), won) for of, before, after, won in rows if of == group)


def returns(past: Past) -> list[tuple[int, float, int]]:
    """Group, return and number of steps of the kept episodes."""
    columns = (past.group_of_episode, past.episode_return, past.num_steps)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_steps_of_all_updates_are_kept_once_and_returns_of_the_latest() -> None:
    """Three updates of one task; what is added is known from the next update on."""
    history = TaskHistory(STATE)
    first, second = played(("t", "ABA", False), ("t", "ABC", False)), played(("t", "ABC", True))
    assert returns(history.past(*first)) == [] and edges(history.past(*first)) == []
    history.add(*first)
    known = history.past(*second)
    assert edges(known) == [("A", "B", False), ("B", "A", False), ("B", "C", False)]
    assert returns(known) == [(0, 0.0, 2), (0, 0.0, 2)]
    history.add(*second)
    known = history.past(*first)
    assert edges(known) == [("A", "B", False), ("B", "A", False), ("B", "C", False), ("B", "C", True)]
    assert returns(known) == [(0, 1.0, 2)]
    assert known.anchor is None and known.text_key is None


def test_records_in_another_order_than_the_batch_are_refused() -> None:
    """The past of one task would become that of another."""
    batch, records = played(("s", "AB", True), ("t", "CD", False))
    for wrong in (records[::-1], records[:1]):
        with pytest.raises(ValueError, match=r"not those of the batch.* or not in its order"):
            TaskHistory(STATE).add(batch, wrong)


def test_every_group_has_the_past_of_its_own_task() -> None:
    """By task, whatever the groups' numbers are; two groups of one task have the same."""
    history = TaskHistory(STATE)
    history.add(*played(("s", "AB", True), ("t", "CD", False)))
    batch, records = played(("t", "XY", True), ("new", "XY", True), ("s", "XY", True), ("other", "XY", True))
    records[3].task_id = "s"
    known = history.past(batch, records)
    assert [edges(known, group) for group in range(4)] == [
        [("C", "D", False)],
        [],
        [("A", "B", True)],
        [("A", "B", True)],
    ]
    assert returns(known) == [(0, 0.0, 1), (2, 1.0, 1), (3, 1.0, 1)]


def test_tasks_played_longest_ago_are_forgotten_whole() -> None:
    """Room for three steps; s was played again after t, and the latest update stays whatever it takes."""
    history = TaskHistory(STATE, most_steps=3)
    for walk in (("s", "AB", True), ("t", "CD", True), ("s", "AC", True)):
        history.add(*played(walk))
    batch, names = played(("s", "AB", True), ("t", "AB", True), ("u", "AB", True))
    assert [len(edges(history.past(batch, names), group)) for group in range(3)] == [2, 1, 0]
    history.add(*played(("u", "AB", True)))
    assert [len(edges(history.past(batch, names), group)) for group in range(3)] == [2, 0, 1]
    history.add(*played(("u", "ABCDE", True)))
    assert [len(edges(history.past(batch, names), group)) for group in range(3)] == [0, 0, 5]
    with pytest.raises(ValueError, match="most_steps is 0"):
        TaskHistory(STATE, most_steps=0)


def test_a_history_goes_through_a_checkpoint() -> None:
    """To the bit, also an empty one; it goes on as the one that was saved, and forgets in the same order."""
    history = TaskHistory(STATE, most_steps=4)
    for walks in ([], [("s", "ABAB", False), ("t", "CD", True)], [("s", "AC", True)]):
        if walks:
            history.add(*played(*walks))
        restored = TaskHistory(STATE, most_steps=4)
        restored.restore(history.tensors(), json.loads(json.dumps(history.state())))
        for kept in (history.tensors()["history"], restored.tensors()["history"]):
            assert kept.keys() == {"steps", "returns", "sizes"}
        assert same(history, restored)
    more = played(("u", "AB", True))
    for one in (history, restored):
        one.add(*more)
    assert same(history, restored) and history.state()["tasks"] == ["s", "u"]


def same(one: TaskHistory, other: TaskHistory) -> bool:
    """Whether all that a checkpoint holds is equal."""
    pairs = zip(one.tensors()["history"].values(), other.tensors()["history"].values(), strict=True)
    return one.state() == other.state() and all(torch.equal(*pair) for pair in pairs)


def test_a_history_of_other_keys_and_none_are_refused() -> None:
    """The method was changed in the config of a run."""
    history = TaskHistory({"past", "next_anchor"})
    for state in ({}, TaskHistory(STATE).state()):
        with pytest.raises(ValueError, match="resume with the credit method of the run that wrote it"):
            history.restore(TaskHistory(STATE).tensors(), state)


def test_clusters_of_alike_observations_are_no_keys_for_a_history() -> None:
    """Their numbers begin anew in every batch; other keys are not touched by them."""
    records = [two_steps()]
    history, by_state = TaskHistory({"past", "next_anchor"}), TaskHistory(STATE)
    history.add(collate(records), records)
    clusters = collate(records, anchor_similarity=0.5)
    for refuse in (history.past, history.add):
        with pytest.raises(ValueError, match=r"set rollout\.anchor_similarity to 1, or choose another key"):
            refuse(clusters, records)
    by_state.add(clusters, records)


def test_a_past_is_filled_from_a_history_alone() -> None:
    """With the types of the batch; without one the error says what to pass."""
    records = [two_steps()]
    policy, needs, batch = tiny(), {"past", "next_anchor"}, collate(records).to(dtype=torch.float64)
    with pytest.raises(MissingColumnError, match=r"history=TaskHistory\(method\.needs\)"):
        fill(batch, records, needs, policy)
    history = TaskHistory(needs)
    history.add(batch, records)
    filled = fill(batch, records, needs, policy, history=history)
    assert filled.past is not None and filled.past.episode_return.dtype == torch.float64
    assert filled.past.anchor is not None
    assert sorted(filled.past.anchor.tolist()) == sorted(batch.steps.anchor.tolist())
    assert filled.to("cpu", torch.float32).past.episode_return.dtype == torch.float32  # type: ignore[union-attr]


def test_a_renumbered_game_is_another_world_with_another_seed() -> None:
    """Names of things change with the seed then; otherwise a game is one world."""
    kwargs = {"domain_randomization": True}
    one = replace(two_steps(), env_spec={"id": "stepopsd/ALFWorld-v0", "kwargs": kwargs}, seed=1)
    assert instance_of(one) != instance_of(replace(one, seed=2))
    plain = replace(one, env_spec={"id": "stepopsd/ALFWorld-v0", "kwargs": {}})
    assert instance_of(plain) == instance_of(replace(plain, seed=2)) == plain.task_id
