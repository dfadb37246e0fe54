"""A rule as credit: it reads one column, and neither outcomes nor the task."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.credit import registry
from tests.helpers.builders import build, by_step, random_attempts


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The file registers the control; here it is forgotten again."""
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    yield


def test_steps_that_change_the_world_are_above_others_by_hand() -> None:
    """Of two groups one has both kinds: standardised there, and nothing from the rule in the other."""
    from benchmarks.credit.rule import Rule

    batch = build(random_attempts(3, groups=2, size=3)).to(dtype=torch.float64)
    changed = batch.group_of_step == 1
    changed[torch.nonzero(~changed)[0]] = True
    before = torch.zeros(batch.num_steps, dtype=torch.int64)
    keyed = batch.with_columns(text_key=before, next_text_key=before + changed)
    found = Rule(step_weight=2.0)(keyed).advantages - credit.make("grpo")(keyed).advantages
    count = int((batch.group_of_step == 0).sum())
    spread = (1 / count) ** 0.5  # of a single one among zeros, unbiased
    for number, step in enumerate(by_step(batch, found)):
        if batch.group_of_step[number] == 1:
            wanted = 0.0
        else:
            wanted = 2 * (float(changed[number]) - 1 / count) / (spread + 1e-6)
        assert step == pytest.approx([wanted] * len(step), abs=1e-9)
    assert Rule().needs == {"text_key", "next_text_key"}


def test_the_rule_of_acceptance_reads_no_texts() -> None:
    """It equals the rule of change where exactly the accepted steps change something."""
    from benchmarks.credit.rule import Rule

    batch = build(random_attempts(3, groups=2, size=3))
    accepted = torch.arange(batch.num_steps) % 3 > 0
    keys = {"text_key": torch.zeros(batch.num_steps, dtype=torch.int64), "next_text_key": accepted.long()}
    told = replace(
        batch.with_columns(**keys), steps=replace(batch.with_columns(**keys).steps, valid=accepted)
    )
    assert torch.equal(Rule("accepted")(told).advantages, Rule("changed")(told).advantages)
    assert Rule("accepted").needs == frozenset()
    with pytest.raises(ValueError, match="rule"):
        Rule("idle")  # type: ignore[arg-type]
