"""What sets `oracle` apart from `path_gain`: what it knows, or the form that it gives to it?

`path_gain` with `lifted` ranks steps nearly as the truth does, and `oracle`, which is the truth, trains
faster. The two differ in two things at once. One is what they know: distances from texts, or the simulator's.
The other is what they make of it: the change of the discounted distance with the advantage of the episode
added, or the change of the distance and nothing else. Here each knowledge is given each form.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from benchmarks.credit.lifted_terms import without_goals
from stepopsd_agent import credit, ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit import Claim, Credit, computed

FORMS: dict[str, dict[str, Any]] = {"gain": {}, "progress": {"measure": "commands", "episode_weight": 0.0}}
"""Settings of `path_gain` that make its form, and that of `oracle`."""


@dataclass(frozen=True)
class Crossed:
    """Distances of `oracle` or `path_gain` in the form of either; in its own form each is the method itself.

    Attributes:
        distances: of the simulator ("truth"), or on the two graphs of `path_gain` with `lifted` ("texts").
        form: "progress" as in `oracle`, or "gain" as in `path_gain`.
    """

    distances: Literal["truth", "texts"] = "texts"
    form: Literal["progress", "gain"] = "progress"

    paper: ClassVar[str] = "none; a control of what sets the upper bound apart"
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset()

    @property
    def needs(self) -> frozenset[str]:
        """The columns of `path_gain` with `lifted`, and those of the truth."""
        truth = frozenset({"optimal_distance", "last_distance"}) if self.distances == "truth" else frozenset()
        return credit.make("path_gain", lifted=True).needs | truth

    def __call__(self, batch: Batch) -> Credit:
        """`path_gain` in this form; with the truth alone in place of both of its graphs, if asked for."""
        known = _of_the_truth(batch) if self.distances == "truth" else batch
        return credit.make("path_gain", lifted=True, **FORMS[self.form])(known)


def _of_the_truth(batch: Batch) -> Batch:
    """The batch with the simulator's distances as those of the task's form, and no goal in the group."""
    before = computed(batch.steps.optimal_distance, "steps.optimal_distance")
    end = computed(batch.episodes.last_distance, "episodes.last_distance")
    after = ops.following(before, batch.steps.episode_of_step, end)
    return without_goals(batch.with_columns(lifted_distance=before, next_lifted_distance=after))


credit.register("crossed", f"{__name__}:Crossed")
