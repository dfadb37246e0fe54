"""The three tables, from lists and from recorded episodes."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from stepopsd_agent.batch import KINDS, Row, audit, batch_from_lists, collate, column_fields, owner
from stepopsd_agent.batch.declaring import OWN
from stepopsd_agent.learner import columns as learner_columns
from stepopsd_envs.step_info import text_hash
from stepopsd_wrappers import Episode, Step, StepTokens
from tests.helpers.builders import by_step, padded, permuted, random_batch


def info(k: int, **more: Any) -> dict[str, Any]:
    """As much of an info as `collate` reads."""
    step = {
        "valid": k != 2,
        "kind": "act",
        "anchor": text_hash(f"seen {k}"),
        "state": text_hash(f"state {k}"),
    }
    return {"step": step, "won": True, "task_type": "t", "optimal_distance": 5 - k, **more}


def step(k: int, tokens: StepTokens | None, **more: Any) -> Step:
    """The k-th step of an episode."""
    return Step(f"seen {k}", "", "", 0.5 * k, False, False, info(k, **more), tokens)


def tokens(prompt: int, *sampled: int, new_row: bool = False, action: tuple[int, int] = (0, 1)) -> StepTokens:
    """`prompt` tokens of id 1, then those sampled, each at log-probability -id / 10."""
    return StepTokens((1,) * prompt, sampled, tuple(-i / 10 for i in sampled), new_row, action)


def episode(*sampled: StepTokens | None, **identity: Any) -> Episode:
    """An episode of these steps after its reset."""
    steps = (step(0, None), *(step(k, one) for k, one in enumerate(sampled, start=1)))
    known: dict[str, Any] = {"run": "r", "update": 0, "group": 0, "member": 0, "task_id": "task"}
    rest: dict[str, Any] = {"seed": 0, "env_spec": {"id": "", "kwargs": {}}, "fingerprint": ""}
    return Episode(**{**known, **rest, **identity}, steps=steps)


def two_steps(**identity: Any) -> Episode:
    """A transcript of two steps: prompt 1 1, sampled 7 8, observation 1, sampled 9."""
    return episode(tokens(2, 7, 8, new_row=True, action=(1, 2)), tokens(1, 9), **identity)


def test_collate_lays_a_transcript_in_one_row() -> None:
    """Ids, steps and log-probabilities stand where they were sampled."""
    batch = collate([two_steps()], pad_id=0)
    assert batch.tokens.input_ids.tolist() == [[1, 1, 7, 8, 1, 9]]
    assert batch.tokens.step_of_token.tolist() == [[-1, -1, 0, 0, -1, 1]]
    torch.testing.assert_close(batch.tokens.old_logprobs, torch.tensor([[0, 0, -0.7, -0.8, 0, -0.9]]))
    assert batch.action_mask.tolist() == [[False, False, True, True, False, True]]


def test_collate_lays_new_rows_in_rows_of_their_own_and_pads() -> None:
    """The window layout: each step brings its whole prompt."""
    batch = collate([episode(tokens(2, 7, 8, new_row=True), tokens(1, 9, new_row=True))], pad_id=99)
    assert batch.tokens.input_ids.tolist() == [[1, 1, 7, 8], [1, 9, 99, 99]]
    assert batch.tokens.attention_mask.tolist() == [[True] * 4, [True, True, False, False]]
    assert batch.tokens.position_ids.tolist() == [[0, 1, 2, 3], [0, 1, 0, 0]]
    assert batch.tokens.step_of_token.tolist() == [[-1, -1, 0, 0], [-1, 1, -1, -1]]


def test_collate_fills_the_steps_from_the_record() -> None:
    """Anchor, state and distance are those the step acted on; reward and validity are its outcome."""
    steps = collate([two_steps()], pad_id=0).steps
    assert steps.episode_of_step.tolist() == [0, 0]
    assert steps.index_in_episode.tolist() == [1, 2]
    assert steps.reward.tolist() == [0.5, 1.0]
    assert steps.valid.tolist() == [True, False]
    assert steps.kind.tolist() == [KINDS.index("act")] * 2
    assert steps.action_start is not None and steps.action_end is not None
    assert (steps.action_start.tolist(), steps.action_end.tolist()) == ([1, 0], [2, 1])
    assert steps.optimal_distance is not None and steps.optimal_distance.tolist() == [5, 4]
    expected = [int(text_hash(f"seen {k}"), 16) for k in (0, 1)]
    assert [anchor % 2**64 for anchor in steps.anchor.tolist()] == expected
    assert [state % 2**64 for state in steps.state.tolist()] == [
        int(text_hash(f"state {k}"), 16) for k in (0, 1)
    ]
    assert steps.gold_seen is None and steps.value is None


def test_collate_numbers_groups_by_their_identity() -> None:
    """Episodes keep their order; (run, update, group) makes a group, whatever its number was."""
    given = [
        two_steps(group=7, member=0, task_id="a"),
        two_steps(group=3, member=0, task_id="b"),
        two_steps(group=7, member=1, task_id="a"),
        two_steps(group=7, member=0, update=1, task_id="c"),
    ]
    batch = collate(given, pad_id=0)
    assert batch.episodes.group_of_episode.tolist() == [0, 1, 0, 2]
    assert batch.group_of_step.tolist() == [0, 0, 1, 1, 0, 0, 2, 2]
    assert batch.episodes.episode_return.tolist() == [1.5] * 4  # 0 + 0.5 + 1.0
    assert batch.episodes.success.tolist() == [True] * 4
    assert audit(batch).group_sizes == (2, 1, 1)


def test_collate_leaves_out_steps_without_tokens() -> None:
    """What another agent did counts for the return and is no step to learn from."""
    batch = collate([episode(None, tokens(3, 7, new_row=True))], pad_id=0)
    assert batch.steps.index_in_episode.tolist() == [2]
    assert batch.episodes.episode_return.tolist() == [1.5]


def test_collate_takes_gold_seen_and_drops_an_unknown_distance() -> None:
    """None is not -1."""
    known = tokens(1, 7, new_row=True)
    steps = (step(0, None, optimal_distance=-1), step(1, known, gold_seen=0.25))
    table = collate([replace(two_steps(), steps=steps)], pad_id=0).steps
    assert table.optimal_distance is None
    assert table.gold_seen is not None and table.gold_seen.tolist() == [0.25]


@pytest.mark.parametrize(
    ("episodes", "message"),
    [
        ([], "got 0 rows, 0 steps and 0 episodes"),
        ([episode(None)], "no step with tokens"),
        ([episode(tokens(1, 7))], "must have new_row=True"),
        ([episode(tokens(1, new_row=True, action=(0, 0)))], "step 1 sampled no token"),
        ([two_steps(), two_steps()], "is there twice"),
        ([two_steps(), two_steps(member=1, task_id="other")], "a group plays one task"),
    ],
)
def test_collate_refuses_what_cannot_be_trained_on(episodes: list[Episode], message: str) -> None:
    """The message names the episode and what is wrong."""
    with pytest.raises(ValueError, match=message):
        collate(episodes, pad_id=0)


def test_collate_refuses_a_failed_episode_and_tokens_at_the_reset() -> None:
    """A failed episode is a record; leaving it out is the caller's decision."""
    good = two_steps(member=4)
    failed = replace(good, steps=(*good.steps[:-1], replace(good.steps[-1], error="OSError: gone")))
    with pytest.raises(ValueError, match=r"member 4, task 'task'\) failed at step 2 \(OSError: gone\)"):
        collate([failed], pad_id=0)
    early = replace(good, steps=(replace(good.steps[0], tokens=tokens(1, 7, new_row=True)), *good.steps[1:]))
    with pytest.raises(ValueError, match="its reset carries tokens"):
        collate([early], pad_id=0)


ROW: Row = {"input_ids": [1, 2], "step_of_token": [-1, 0], "old_logprobs": [0.0, -0.5]}
STEP: Row = {
    "episode_of_step": 0,
    "index_in_episode": 1,
    "reward": 1.0,
    "anchor": 0,
    "state": 0,
    "valid": True,
    "kind": 1,
}
EPISODE: Row = {"group_of_episode": 0, "episode_return": 1.0, "success": True}


def test_batch_from_lists_makes_a_batch_of_plain_lists() -> None:
    """The types and shapes that the tables promise."""
    batch = batch_from_lists([ROW], [STEP], [EPISODE])
    assert (batch.num_rows, batch.num_steps, batch.num_episodes) == (1, 1, 1)
    assert batch.tokens.old_logprobs.dtype == torch.float32
    assert batch.tokens.teacher_logprobs is None and batch.steps.value is None
    audit(batch)


@pytest.mark.parametrize(
    ("row", "first", "second", "message"),
    [
        ({"old_logprobs": [0.0]}, {}, {}, r"rows\[0\]: old_logprobs has length 1, input_ids 2"),
        ({"logprobs": [0.0, 0.0]}, {}, {}, r"rows\[0\] has unknown column\(s\) \['logprobs'\]"),
        ({}, {"rewrad": 1.0}, {}, r"steps\[0\] has unknown column\(s\) \['rewrad'\]"),
        ({}, {"value": 1.0}, {}, "'value' is given for 1 of 2 steps; give it for all or none"),
        ({}, {}, {"reward": None}, "'reward' is given for 1 of 2 steps; give it for all"),
    ],
)
def test_batch_from_lists_refuses_columns_that_do_not_fit(
    row: dict[str, Any], first: dict[str, Any], second: dict[str, Any], message: str
) -> None:
    """A misspelt, short, half-given or missing column; None in `second` takes a column away."""
    rows: list[Any] = [{**ROW, **row}]
    steps: list[Any] = [{**STEP, **first}, {k: v for k, v in STEP.items() if k not in second}]
    with pytest.raises(ValueError, match=message):
        batch_from_lists(rows, steps, [EPISODE])


def test_a_batch_refuses_columns_of_another_shape_or_type() -> None:
    """A mask longer than the ids, or another tensor in its place, does not get past the constructor."""
    batch = random_batch(0)
    longer = torch.nn.functional.pad(batch.tokens.step_of_token, (0, 1), value=0)
    with pytest.raises(ValueError, match=r"tokens\.step_of_token has shape"):
        replace(batch, tokens=replace(batch.tokens, step_of_token=longer))
    with pytest.raises(TypeError, match=r"step_of_token is torch\.float32, must be torch\.int64"):
        replace(batch, tokens=replace(batch.tokens, step_of_token=batch.tokens.old_logprobs))
    with pytest.raises(TypeError, match=r"teacher_logprobs is torch\.int64, must be a floating type"):
        batch.with_columns(teacher_logprobs=batch.tokens.input_ids)
    with pytest.raises(ValueError, match="steps columns have 1 dimension"):
        column = batch.steps.episode_of_step[None]
        replace(batch, steps=replace(batch.steps, episode_of_step=column))


def test_with_columns_puts_columns_in_and_leaves_the_rest() -> None:
    """Each column goes to the table that has it, and the batch given is unchanged."""
    batch = random_batch(0)
    reference = torch.full_like(batch.tokens.old_logprobs, -2.0)
    changed = batch.with_columns(ref_logprobs=reference)
    assert changed.tokens.ref_logprobs is reference and batch.tokens.ref_logprobs is None
    assert changed.tokens.teacher_logprobs is batch.tokens.teacher_logprobs
    assert changed.steps is batch.steps
    value, informed = torch.ones(batch.num_steps), torch.ones(batch.num_episodes, dtype=torch.bool)
    both = changed.with_columns(value=value, informed=informed)
    assert both.steps.value is value and both.episodes.informed is informed
    assert both.tokens is changed.tokens and both.steps.mc_value is batch.steps.mc_value
    assert both.teacher_topk is batch.teacher_topk


def test_with_columns_refuses_a_column_that_no_table_has() -> None:
    """It lists those there are."""
    with pytest.raises(ValueError, match=r"no column 'valeu'; a batch has .*value"):
        random_batch(0).with_columns(valeu=torch.zeros(1))


def test_last_step_is_true_once_per_episode_at_its_end() -> None:
    """Two episodes of two steps, then one of a single step."""
    more = {"member": 1}, {"member": 2}
    single = episode(tokens(2, 7, new_row=True), **more[1])
    batch = collate([two_steps(), two_steps(**more[0]), single])
    assert batch.last_step.tolist() == [False, True, False, True, True]


def test_every_column_has_one_owner_and_a_source_where_it_is_optional() -> None:
    """It is read off the records, a function that exists fills it, or shaping the rewards gives it."""
    declared = {name: spec for name, spec in column_fields().items() if name not in OWN}
    assert {owner(name) for name in declared} == {"tokens", "steps", "episodes", ""}
    for name, spec in declared.items():
        if spec.default is not None:
            continue
        assert sum(source in spec.metadata for source in ("read", "filled", "shaped")) == 1, name
        if "filled" in spec.metadata:
            assert callable(getattr(learner_columns, f"fill_{name}")), name


def test_to_changes_floating_columns_only() -> None:
    """Double precision for tests of exactness."""
    batch = random_batch(0).to(dtype=torch.float64)
    assert batch.tokens.old_logprobs.dtype == batch.steps.reward.dtype == torch.float64
    assert batch.tokens.input_ids.dtype == torch.int64 and batch.episodes.success.dtype == torch.bool


def test_rows_cut_every_column_alike() -> None:
    """A micro-batch keeps pointing into the steps of the whole batch."""
    batch = random_batch(0)
    assert torch.equal(batch.tokens.rows(slice(1, 3)).step_of_token, batch.tokens.step_of_token[1:3])
    part = batch.tokens.rows(torch.tensor([2, 0]))
    assert torch.equal(part.input_ids, batch.tokens.input_ids[[2, 0]])
    assert part.ref_logprobs is None


def test_builders_layouts_hold_the_same_steps() -> None:
    """What other tests rely on."""
    transcript, window = random_batch(5), random_batch(5, "window")
    assert transcript.num_rows == transcript.num_episodes and window.num_rows == window.num_steps
    changed = (window, permuted(transcript, [5, 3, 1, 0, 2, 4]), padded(transcript, 1, 2))
    expected = by_step(transcript, transcript.tokens.old_logprobs)
    assert all(by_step(batch, batch.tokens.old_logprobs) == expected for batch in changed)


@pytest.mark.gpu
def test_to_moves_every_column() -> None:
    """And mixing devices is refused."""
    batch = random_batch(0).to("cuda")
    assert batch.tokens.input_ids.is_cuda and batch.steps.reward.is_cuda and batch.episodes.success.is_cuda
    with pytest.raises(ValueError, match=r"use Batch\.to"):
        batch.with_columns(ref_logprobs=torch.zeros(batch.tokens.input_ids.shape))
