"""Columns that are declared outside the tables, each by one decorated function."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from stepopsd_agent.batch import AuditError, Batch, collate, column_fields, register_column
from stepopsd_agent.batch.declaring import OWN
from stepopsd_agent.credit import Claim, Credit
from stepopsd_agent.hindsight import batch_logprobs
from stepopsd_agent.learner import Learner, Sources, fill
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
        return Credit(advantages=batch.own["surprise"] * batch.action_mask)


@pytest.fixture
def surprise() -> Iterator[None]:
    """The column, for the time of a test."""

    @register_column("tokens", torch.float32)
    def surprise(batch: Batch, sources: Sources) -> Tensor:
        return -batch_logprobs(sources.scorer, batch)

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
    assert "surprise" not in fill(collate(episodes), episodes, set(), policy).own
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
    def endless(batch: Batch, sources: Sources) -> Tensor:
        return torch.full((batch.num_steps,), float("nan"))

    try:
        with pytest.raises(AuditError, match=r"own\['endless'\] is not finite"):
            fill(batch, episodes, {"endless"}, tiny())
    finally:
        del OWN["endless"]


@pytest.mark.usefixtures("surprise")
def test_a_column_s_name_and_table_are_checked_where_it_is_declared() -> None:
    """Names are taken once, by the tables' columns or by another file's."""

    def value(batch: Batch, sources: Sources) -> Tensor:
        return torch.zeros(batch.num_steps)

    with pytest.raises(ValueError, match="a batch has a column 'value' already"):
        register_column("steps", torch.float32)(value)
    with pytest.raises(ValueError, match="table is 'rows'; a column belongs to tokens, steps or episodes"):
        register_column("rows", torch.float32)
    again = "def surprise(batch, sources):\n    return None"
    scope: dict[str, object] = {}
    exec(compile(again, "another.py", "exec"), scope)
    with pytest.raises(ValueError, match="a batch has a column 'surprise' already"):
        register_column("tokens", torch.float32)(scope["surprise"])  # type: ignore[type-var]
