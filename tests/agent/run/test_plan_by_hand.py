"""Plans whose figures were worked out by hand."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from stepopsd_agent import credit
from stepopsd_agent.batch import Batch, ColumnSources, register_column
from stepopsd_agent.batch.declaring import OWN
from stepopsd_agent.cli.main import main
from stepopsd_agent.models.packed import CACHE_ROOM
from stepopsd_agent.run import Trainer
from stepopsd_agent.run.planning import Lengths, memory_by_part, model_shape
from stepopsd_agent.run.planning.first_update import compared_time, in_words
from stepopsd_agent.run.planning.lengths import played_lengths
from stepopsd_agent.run.planning.plan import (
    Rates,
    seconds_by_part,
    tokens_by_part,
    uncounted,
)
from stepopsd_agent.run.planning.processes import process_memory
from stepopsd_agent.run.planning.shapes import shape_of
from tests.agent.run.test_plan import NO_LORA, SMALL
from tests.helpers.runs import run_config, taught


def test_plan_sets_parts_of_the_time_beside_the_seconds_of_an_update() -> None:
    """What is neither played nor learned is scored; a part that was not there took nothing."""
    parts = {"playing": 2.0, "teacher": 0.5, "reference": 0.25, "update": 1.0}
    found = compared_time(parts, {"rollout_s": 1.5, "score_s": 3.0})
    assert found == {
        "playing": {"planned": 2.0, "taken": 1.5},
        "scoring": {"planned": 0.75, "taken": 3.0},
        "update": {"planned": 1.0, "taken": 0.0},
    }
    said = in_words({"tokens": {}, "time": found})
    assert said.endswith("; 4.5 s (planned 3.8 s)")


@pytest.mark.samples
def test_plan_names_columns_whose_reading_it_does_not_count(
    taught_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One's own, and the gold answers of IGPO: the figures are no upper bound with these."""

    @register_column("steps", torch.float32)
    def surprise(batch: Batch, sources: ColumnSources) -> Tensor:
        return -sources.logprobs(batch)[:, 0]

    try:
        needs = frozenset({"surprise", "gold_answer_logprob", "teacher_logprobs", "text_key"})
        assert uncounted(needs) == ["gold_answer_logprob", "surprise"]
    finally:
        del OWN["surprise"]
    assert not any(uncounted(credit.make(name).needs) for name in credit.names() if name != "igpo")
    flags = [f"--model.path={taught_model}", "--env.id=stepopsd/SearchQA-v0", "--env.tier=tiny"]
    assert main(["plan", *flags, "--credit.method=igpo"]) == 0
    shown = capsys.readouterr().out
    for part in ("tokens per update", "time"):
        assert f"{part}, at most, without what is read for gold_answer_logprob" in shown
    said = in_words({"tokens": {}, "columns_not_planned": ["a", "b"]})
    assert "for its lengths, without what is read for a, b: " in said


def test_plan_by_hand() -> None:
    """Two episodes of three steps: 10 + 2 * 4 read, 3 * 5 sampled, a block of 6 before each step."""
    config = run_config(
        rollout={"tasks": 1, "group_size": 2}, learner={"kl_coef": 0.1}, hindsight={"position": "inline"}
    )
    lengths = Lengths(first=10, further=4, response=5, steps=3, block=6)
    assert tokens_by_part(config, frozenset({"teacher_logprobs"}), lengths) == {
        "sampled": 30,
        "read while playing": 36,
        "teacher": 2 * (33 + 3 * (6 + 5) - 5),
        "reference": 66,
        "update": 66,
    }
    shape = model_shape(SMALL, NO_LORA, torch.float32)
    memory = memory_by_part(config, shape, lengths, 4)
    assert memory["weights"] == memory["gradients"] == shape.parameters * 4
    assert memory["optimizer"] == 2 * shape.parameters * 4
    # 33 tokens and room; one layer of two is copied as it grows.
    assert memory["key-value cache"] == 2 * (33 + CACHE_ROOM) * 128 * 2 * 4 * 1.5
    # Holes and a turn as well; the layer is written out for both heads that share a key.
    padded = replace(shape, packs=False)
    beside = memory_by_part(config, padded, lengths, 4)["key-value cache"]
    assert beside == round(2 * (33 / 0.7 + 15 + CACHE_ROOM) * 128 * 2 * 4 * 2.5)
    assert "critic" not in memory and "masks of the teacher" not in memory
    window = replace(config, env=replace(config.env, layout="window"))
    assert (
        memory_by_part(window, padded, lengths, 4)["key-value cache"]
        == 2 * (32 + 15 + CACHE_ROOM) * 128 * 2 * 4 * 2.5
    )
    half = memory_by_part(config, shape, lengths, 2)
    assert half["full-precision copies"] == half["gradients"] == 2 * half["gradients of a pass"]
    assert half["optimizer"] == memory["optimizer"] == 4 * half["weights"]
    fast = seconds_by_part(config, shape, frozenset(), lengths, Rates(1e12, 1e12), 4)
    slow = seconds_by_part(config, shape, frozenset(), lengths, Rates(5e11, 5e11), 4)
    assert {name: 2 * value for name, value in fast.items()} == pytest.approx(slow)


def test_plan_by_hand_of_columns_that_cost_passes() -> None:
    """The student beside a teacher, fresh attempts from every state, the critic twice, dense masks."""
    config = run_config(rollout={"tasks": 1, "group_size": 2, "mc_rollouts": 3})
    lengths = Lengths(first=10, further=4, response=5, steps=3, block=6)
    gap = frozenset({"student_logprobs", "teacher_logprobs"})
    assert tokens_by_part(config, gap, lengths)["student"] == 66
    rescored = replace(config, learner=replace(config.learner, rescore_old=True))
    assert {"student", "old log-probs"} & set(tokens_by_part(rescored, gap, lengths)) == {"old log-probs"}
    assert "student" not in tokens_by_part(config, frozenset({"student_logprobs"}), lengths)
    fresh = tokens_by_part(config, frozenset({"mc_value"}), lengths)
    assert fresh["fresh attempts, sampled"] == 2 * 3 * (3 + 2 + 1) * 5
    assert fresh["fresh attempts, read"] == 2 * 3 * 3 * 33 - 180
    window = replace(config, env=replace(config.env, layout="window"))
    assert tokens_by_part(window, frozenset({"mc_value"}), lengths)["fresh attempts, read"] == 36 * 10
    shape = model_shape(SMALL, NO_LORA, torch.float32)
    for needs, part in [("mc_value", "fresh attempts"), ("value", "critic")]:
        assert part in seconds_by_part(config, shape, frozenset({needs}), lengths, Rates(1e12, 1e12), 4)
    padded = replace(config, learner=replace(config.learner, attention="padded"))
    for one, of in [(padded, shape), (config, replace(shape, packs=False))]:
        assert memory_by_part(one, of, lengths, 4, gap)["masks of the teacher"] == 66 * 39 * 7


def test_plan_by_hand_of_the_teacher_s_distributions() -> None:
    """Of 30 sampled tokens: numbers of 8 bytes, log-probabilities of 4, of the likeliest 100 or all 400."""
    config = run_config(rollout={"tasks": 1, "group_size": 2}, hindsight={"top_k": 100})
    lengths = Lengths(first=10, further=4, response=5, steps=3, block=6)
    shape = model_shape(SMALL, NO_LORA, torch.float32)
    needs = frozenset({"teacher_topk"})
    every = replace(config, hindsight=replace(config.hindsight, top_k=0))
    found = [memory_by_part(one, shape, lengths, 4, needs) for one in (config, every)]
    assert [one["teacher's distributions"] for one in found] == [30 * 100 * 12, 30 * 400 * 12]
    alone = memory_by_part(config, shape, lengths, 4)
    assert "teacher's distributions" not in alone
    assert alone["at most at once"] < found[0]["at most at once"] < found[1]["at most at once"]
    four = replace(config, rollout=replace(config.rollout, tasks=4))
    shared = process_memory(four, shape, lengths, 4, needs, 4)
    assert shared["teacher's distributions"] == 4 * found[0]["teacher's distributions"]


@pytest.mark.samples
@pytest.mark.parametrize("top_k", [0, 7])
def test_plan_of_the_teacher_s_distributions_is_what_a_batch_holds(top_k: int) -> None:
    """To the byte, with the update's own lengths."""
    config = run_config(hindsight={"top_k": top_k, "mode": "correctness"})
    one = Trainer(config, credit.make("sdpo"), taught())
    episodes = one.collect()
    likely = one.score(episodes).teacher_topk
    assert likely is not None
    shape = shape_of(one.policy.model.config, NO_LORA, torch.float32)
    planned = memory_by_part(config, shape, played_lengths(episodes, 0), 4, one.method.needs)
    held = likely.ids.nbytes + likely.logprobs.nbytes
    assert planned["teacher's distributions"] == pytest.approx(held, rel=1e-6)
