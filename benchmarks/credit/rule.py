"""Credit by a rule that knows neither the task nor the outcome: does any step credit train?

A method whose credit also punishes commands that do nothing might train faster for that alone. Here GRPO's
advantage is joined by such a rule and by nothing else, in the form of `path_gain`: standardised over the
group, with the same weight.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from stepopsd_agent import credit, ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit import Claim, Credit, check_choice, computed, key_columns


@dataclass(frozen=True)
class Rule:
    """GRPO over episodes, plus what a rule says of every step.

    Attributes:
        rule: 1 for a step that the environment "accepted", or that "changed" what texts say about the world;
            0 for any other.
        step_weight: weight of the rule.
        eps: added to the standard deviation.
    """

    rule: Literal["changed", "accepted"] = "changed"
    step_weight: float = 1.0
    eps: float = 1e-6

    paper: ClassVar[str] = "none; a control of whether credit has to know anything"
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset()

    def __post_init__(self) -> None:
        check_choice("rule", self.rule, ("changed", "accepted"))

    @property
    def needs(self) -> frozenset[str]:
        """What texts say before and after each step, where the rule reads it."""
        return key_columns("text") if self.rule == "changed" else frozenset()

    def __call__(self, batch: Batch) -> Credit:
        """A^E + step_weight A^S, with A^S the rule, standardised over the steps of the group."""
        base, steps = credit.make("grpo")(batch), batch.steps
        said = steps.valid
        if self.rule == "changed":
            before = computed(steps.text_key, "steps.text_key")
            said = before != computed(steps.next_text_key, "steps.next_text_key")
        per_step = ops.standardised(said.double(), batch.group_of_step, batch.num_steps, eps=self.eps)
        part = ops.spread_steps(per_step, batch.tokens.step_of_token).to(base.advantages.dtype)
        return Credit(base.advantages + self.step_weight * part, metrics=base.metrics, may_zero_steps=True)


credit.register("rule", f"{__name__}:Rule")
