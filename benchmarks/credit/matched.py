"""Another method with its advantages scaled to the size of GRPO's, to separate credit from step size."""

from dataclasses import dataclass, replace
from typing import ClassVar

from stepopsd_agent import credit, ops
from stepopsd_agent.accuracy import entries
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit import Claim, Credit, CreditMethod


@dataclass(frozen=True)
class Matched:
    """The advantages of another method, with the mean absolute value that GRPO's have in the batch.

    Attributes:
        inner: the other method, as in `entries`: a name, and settings after it.
    """

    inner: str = "grpo"

    paper: ClassVar[str] = "none; a control of the size of advantages"
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset()

    def _method(self) -> CreditMethod:
        name, *settings = self.inner.split()
        return entries([self.inner])[0].make() if settings else credit.make(name)

    @property
    def needs(self) -> frozenset[str]:
        """Those of the other method."""
        return self._method().needs

    def __call__(self, batch: Batch) -> Credit:
        """The other method's credit, scaled; unchanged if all of its advantages are zero."""
        found, base = self._method()(batch), credit.make("grpo")(batch)
        size, wanted = (
            float(ops.masked_mean(one.advantages.abs(), batch.action_mask)) for one in (found, base)
        )
        factor = wanted / size if size > 0 else 1.0
        metrics = {**found.metrics, "matched_factor": factor}
        return replace(found, advantages=found.advantages * factor, metrics=metrics)


credit.register("matched", f"{__name__}:Matched")
