"""What sets `oracle` apart from `path_gain`: what it knows, or the form that it gives to it?

`path_gain` with `lifted` ranks steps nearly as the truth does, and `oracle`, which is the truth, trains
faster. The two differ in two things at once. One is what they know: distances from texts, or the simulator's.
The other is what they make of it: the change of the discounted distance with the advantage of the episode
added, or the change of the distance and nothing else. Here each knowledge is given each form.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from stepopsd_agent import credit, ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit import Claim, Credit, StateGraph, computed, merged_graph, nearer


@dataclass(frozen=True)
class Crossed:
    """Distances of `oracle` or `path_gain` in the form of either; in its own form each is the method itself.

    Attributes:
        distances: of the simulator ("truth"), or on the two graphs of `path_gain` with `lifted` ("texts").
        form: "progress" as in `oracle`, or "gain" as in `path_gain`.
        gamma: of the gain, as in `path_gain`.
        idle_cost: of the gain, as in `path_gain`.
        eps: added to the standard deviations.
    """

    distances: Literal["truth", "texts"] = "texts"
    form: Literal["progress", "gain"] = "progress"
    gamma: float = 0.95
    idle_cost: float = 0.1
    eps: float = 1e-6

    paper: ClassVar[str] = "none; a control of what sets the upper bound apart"
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset()

    @property
    def needs(self) -> frozenset[str]:
        """The columns of `path_gain` with `lifted`, and those of the truth."""
        truth = frozenset({"optimal_distance", "last_distance"}) if self.distances == "truth" else frozenset()
        return credit.make("path_gain", lifted=True).needs | truth

    def __call__(self, batch: Batch) -> Credit:
        """The standardised progress, or the advantage of the episode and the standardised gain."""
        graph = merged_graph(batch, "text", inferred=True)
        known = [_truth(batch)] if self.distances == "truth" else _texts(batch, graph)
        if self.form == "progress":
            episode = batch.steps.episode_of_step
            steps = torch.stack([nearer(*pair, episode) for pair in known]).sum(0).double()
            return Credit(self._spread(batch, steps), may_zero_steps=True)
        steps = self._gain(known, graph)
        return Credit(credit.make("grpo")(batch).advantages + self._spread(batch, steps), may_zero_steps=True)

    def _gain(self, known: list[tuple[Tensor, Tensor]], graph: StateGraph) -> Tensor:
        """[S] change of the discounted distances, less the cost of idle steps."""
        values = [
            torch.stack(
                [torch.where(pair[side] < 0, 0.0, self.gamma ** pair[side].double()) for pair in known]
            )
            for side in (0, 1)
        ]
        before, after = (value.sum(0) for value in values)
        idle = (graph.before == graph.after) & (before > 0)
        return after - before - self.idle_cost * (1 - self.gamma) * idle

    def _spread(self, batch: Batch, steps: Tensor) -> Tensor:
        per_step = ops.standardised(steps, batch.group_of_step, batch.num_steps, eps=self.eps)
        return ops.spread_steps(per_step, batch.tokens.step_of_token).to(batch.steps.reward.dtype)


def _truth(batch: Batch) -> tuple[Tensor, Tensor]:
    """[S] the simulator's distances before and after each step; negative: out of reach."""
    before = computed(batch.steps.optimal_distance, "steps.optimal_distance")
    end = computed(batch.episodes.last_distance, "episodes.last_distance")
    return before, ops.following(before, batch.steps.episode_of_step, end)


def _texts(batch: Batch, graph: StateGraph) -> list[tuple[Tensor, Tensor]]:
    """The same on the graph of the group and on that of the task's form; negative: no path known."""
    distance = graph.distance()
    own = torch.where(torch.isfinite(distance), distance, -1.0)
    lifted = [
        computed(column, "the distances of `lifted`").to(own.dtype)
        for column in (batch.steps.lifted_distance, batch.steps.next_lifted_distance)
    ]
    return [(own[graph.before], own[graph.after]), (lifted[0], lifted[1])]


credit.register("crossed", f"{__name__}:Crossed")
