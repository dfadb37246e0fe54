"""Columns that are declared outside the tables, each by one decorated function."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from stepopsd_agent import credit
from stepopsd_agent.batch import AuditError, Batch, ColumnSources, collate, column_fields, register_column
from stepopsd_agent.batch.declaring import OWN
from stepopsd_agent.credit import Claim, Credit, MissingColumnError, computed
from stepopsd_agent.hindsight import batch_logprobs
from stepopsd_agent.learner import Learner, fill, recorded_columns
from stepopsd_agent.models import Scorer
from stepopsd_agent.run import Trainer
from tests.agent.learner.test_columns import played
from tests.helpers.models import tiny
from tests.helpers.runs import run_config


@dataclass(frozen=True)
class Surprising:
    """A method that gives each token its surprise."""

    paper: ClassVar[str] = "none"
    needs: ClassVar[frozenset[str]] = frozenset({"surprise", "teacher_logprobs", "student_logprobs"})
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset()

    def __call__(self, batch: Batch) -> Credit:
        """Zero outside the action mask, as every credit."""
        return Credit(advantages=computed(batch.own.get("surprise"), "surprise") * batch.action_mask)


@pytest.fixture
def surprise() -> Iterator[None]:
    """The column, for the time of a test."""

    @register_column("tokens", torch.float32)
    def surprise(batch: Batch, sources: ColumnSources) -> Tensor:
        return -sources.logprobs(batch)

    yield
    del OWN["surprise"]


@pytest.mark.usefixtures("surprise")
def test_fill_computes_a_column_of_ones_own_for_the_method_that_needs_it() -> None:
    """It is in the batch, moves with it, and the learner takes an update of it in parts."""
    policy = tiny()
    episodes = played(policy)
    batch = fill(collate(episodes), episodes, Surprising.needs, policy)
    expected = -batch_logprobs(Scorer(policy), batch)
    assert torch.equal(batch.own["surprise"], expected) and torch.equal(batch.column("surprise"), expected)
    assert batch.to(dtype=torch.float64).own["surprise"].dtype == torch.float64
    plain = fill(collate(episodes), episodes, set(), policy)
    assert "surprise" not in plain.own
    with pytest.raises(MissingColumnError, match="needs surprise"):
        Surprising()(plain)
    learner = Learner(policy, lr=1e-3, mini_batches=2, tokens_per_micro_batch=200)
    assert learner.update(batch, Surprising()(batch))["grad_norm"] > 0


@pytest.mark.usefixtures("surprise")
def test_a_trainer_fills_a_column_of_ones_own() -> None:
    """Also beside a teacher that is asked about some rows only."""
    assert column_fields().keys() >= Surprising.needs  # which a method is asked for when it is registered
    one = Trainer(run_config(), Surprising(), tiny())
    batch = one.score(one.chosen(one.collect()))
    assert batch.own["surprise"].shape == batch.tokens.input_ids.shape


@pytest.mark.usefixtures("surprise")
def test_an_own_column_is_checked_like_the_others() -> None:
    """Shape, type, device and numbers; the column is named."""
    episodes = played(tiny())
    batch = collate(episodes)
    with pytest.raises(ValueError, match=r"own\['surprise'\] has shape \(2,\)"):
        batch.with_columns(surprise=torch.zeros(2))
    with pytest.raises(TypeError, match=r"own\['surprise'\] is torch.int64, must be a floating type"):
        batch.with_columns(surprise=torch.zeros_like(batch.tokens.input_ids))

    @register_column("steps", torch.float32)
    def endless(batch: Batch, sources: ColumnSources) -> Tensor:
        return torch.full((batch.num_steps,), float("nan"))

    try:
        with pytest.raises(AuditError, match=r"own\['endless'\] is not finite"):
            fill(batch, episodes, {"endless"}, tiny())
    finally:
        del OWN["endless"]


@pytest.mark.usefixtures("surprise")
def test_a_column_s_name_and_table_are_checked_where_it_is_declared() -> None:
    """Names are taken once, by the tables' columns or by another file's."""

    def value(batch: Batch, sources: ColumnSources) -> Tensor:
        return torch.zeros(batch.num_steps)

    with pytest.raises(ValueError, match="a batch has a column 'value' already"):
        register_column("steps", torch.float32)(value)
    with pytest.raises(ValueError, match="table is 'rows'; a column belongs to tokens, steps or episodes"):
        register_column("rows", torch.float32)
    with pytest.raises(ValueError, match="dtype is 'float32'; give one of torch"):
        register_column("steps", "float32")  # type: ignore[arg-type]
    again = "def surprise(batch, sources):\n    return None"
    scope: dict[str, object] = {"__name__": "another"}
    exec(compile(again, "another.py", "exec"), scope)
    with pytest.raises(ValueError, match="a batch has a column 'surprise' already"):
        register_column("tokens", torch.float32)(scope["surprise"])  # type: ignore[type-var]


@pytest.mark.usefixtures("surprise")
def test_a_cell_or_file_that_runs_again_replaces_its_column() -> None:
    """Also one whose function is decorated; the name of the module and the function tells."""

    def cell(file: str, value: float) -> None:
        body = f"    return torch.full((batch.num_steps,), {value})"
        code = f"@torch.no_grad()\ndef again(batch, sources):\n{body}"
        scope = {"__name__": "__main__", "torch": torch}
        exec(compile(code, file, "exec"), scope)
        register_column("steps", torch.float32)(scope["again"])  # type: ignore[type-var]

    try:
        episodes = played(tiny())
        for file, value in (("cell 1", 1.0), ("cell 2", 2.0)):
            cell(file, value)
            assert fill(collate(episodes), episodes, {"again"}, tiny()).own["again"][0] == value
    finally:
        del OWN["again"]


def test_a_column_s_function_returns_a_tensor() -> None:
    """Not the batch with the column in it, as the functions of the tables' columns do."""

    @register_column("steps", torch.float32)
    def whole(batch: Batch, sources: ColumnSources) -> Any:
        return batch

    try:
        episodes = played(tiny())
        with pytest.raises(TypeError, match="whole returned Batch; give its column, a tensor"):
            fill(collate(episodes), episodes, {"whole"}, tiny())
    finally:
        del OWN["whole"]


def test_rows_to_ask_the_teacher_about_are_one_truth_value_each() -> None:
    """Numbers of rows, or too few of them, would ask about others than meant."""
    policy = tiny()
    episodes = played(policy)
    batch = collate(episodes)
    for rows in (torch.tensor([True]), torch.arange(batch.num_rows)):
        with pytest.raises(ValueError, match=r"teacher_rows is .*; it must be torch.bool"):
            fill(batch, episodes, {"teacher_logprobs"}, policy, teacher_rows=rows)


def test_an_update_takes_the_credit_of_its_batch_and_a_rate_that_is_a_number() -> None:
    """Another batch's advantages would be learned from in the wrong places, nan makes the weights nan."""
    policy = tiny()
    one, other = collate(played(policy)), collate(played(policy, members=2))
    learner, before = Learner(policy, lr=1e-3), policy.state()
    with pytest.raises(ValueError, match=r"advantages has shape .*; give the credit of this batch"):
        learner.update(one, credit.make("grpo")(other))
    for rate in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=rf"rate is {rate}; it multiplies the learning rates"):
            learner.update(one, credit.make("grpo")(one), rate=rate)
    assert all(torch.equal(weights, policy.state()[name]) for name, weights in before.items())


def test_a_column_of_the_records_needs_no_policy() -> None:
    """One that is declared so is filled without any; the others are refused by name."""

    @register_column("steps", torch.float32, model=False)
    def answer_length(batch: Batch, sources: ColumnSources) -> Tensor:
        steps = [step for episode in sources.episodes for step in episode.steps[1:]]
        return torch.tensor([float(len(step.observation)) for step in steps])

    try:
        assert {"answer_length", "text_key", "past", "reward"} <= recorded_columns()
        assert not {"teacher_logprobs", "value"} & recorded_columns()
        episodes = played(tiny())
        batch = fill(collate(episodes), episodes, {"answer_length", "text_key"}, None)
        assert batch.own["answer_length"].min() > 0 and batch.steps.text_key is not None
        with pytest.raises(
            MissingColumnError, match="teacher_logprobs, value: no column of the records alone"
        ):
            fill(batch, episodes, {"answer_length", "value", "teacher_logprobs"}, None)
    finally:
        del OWN["answer_length"]
