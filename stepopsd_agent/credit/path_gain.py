"""PathGain, of this project: a step is credited with how much it shortened the path to a goal of its group.

The attempts of a group are merged into one graph (`state_graph`). Its nodes are the facts about the world
that the texts so far give. With D(k) the length of a shortest path from node k to a node where a successful
attempt ended, along steps that attempts of the group took and transitions inferred from them (`ways`):

    V(k) = gamma^D(k), and 0 where no path leads to a goal
    c_t  = V(k_(t+1)) - V(k_t) - idle_cost (1 - gamma) [k_(t+1) = k_t and V(k_t) > 0]
    A^S  = (c_t - mean c) / (std c + eps)    over all steps of the group
    A    = episode_weight A^E + step_weight A^S,  A^E the advantage of GRPO

With `lifted` every step also has a node in a second graph: the facts that remain when things go by their role
in the task ("the object is in hand, at the target"). That graph is shared by all tasks of a form, in this
update and earlier ones (`learner.lifted_plans`), so it knows a way where no attempt of the group succeeded.
V is then the sum of the values on both graphs; k is still the node on the graph of the group.

With ``measure="commands"`` the distance itself is compared, so that c_t is the number of commands by which a
step shortens the path, and idle steps cost nothing: as in `oracle`, where the distance is the simulator's. A
step to a node without a path loses the distance that its episode began with and one more. Far from the goal
a discounted gain is a fraction of that of the last step; this one is as large everywhere. With
`episode_weight` 0 the step's own part is the whole advantage, as there.

It needs no teacher, no critic and no further attempts: it reads texts and outcomes only. Two things set it
apart from the published graph methods. The value of a node is the best outcome found from there, not a mean
over attempts, so a good node that failures visited keeps its value. And the credit is the change of that
value, compared over the whole group, so no other attempt has to act from the same node.

The cost of idle steps only breaks ties with other steps that leave D unchanged. At 1 forward steps are ranked
equally well, but an idle step counts at least as much as a step backwards, and policies that seldom win learn
to change the world at any price. For the same reason an idle step costs nothing where no path is known.

Assumptions: the environment is deterministic, and the key tells apart the states that matter. Lifting assumes
that tasks of a form are solved alike; what it keeps of a text is written by hand for an environment
(`TaskSpec.lifted`), and without that it adds nothing. Failure modes: where the key merges states that differ,
or a command does more than its texts say, the graph has paths that do not exist; a step towards a goal along
a path that no attempt finished gains nothing; and a step off all known paths loses the whole value of the
node that it left, or in commands more than the whole way. No step comes from a node without a path to one
with a path: the step itself would be one.

Degenerate cases: a group without success gives zero, with `lifted` if no attempt at a task of its form
succeeded; and so does one whose steps all have the same gain.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Claim, Credit, check_choice, check_range, computed
from stepopsd_agent.credit.grpo import GRPO
from stepopsd_agent.credit.state_graph import KEYS, Key, StateGraph, key_columns, merged_graph, nearer


@dataclass(frozen=True)
class PathGain:
    """GRPO over episodes, plus the gain in value of every step on the graph of the group.

    Attributes:
        gamma: discount per step of the path to the goal.
        idle_cost: cost of a step that leaves its node unchanged where a path is known, in units of
            1 - gamma: the gain of the last step before the goal.
        step_weight: weight of A^S.
        episode_weight: weight of A^E.
        measure: what a gain is: of the "discounted" distance, or of the distance in "commands".
        key: what makes two states one node, see `state_graph`.
        ways: with text keys, add transitions that no attempt took, see `learner.inferred_transitions`.
        lifted: add the gain on the graph of the task's form, from attempts at all tasks of that form.
        history: add the steps and goals of earlier updates at the same task.
        std: divide A^E by its standard deviation, as in `grpo`.
        baseline: of A^E, as in `grpo`.
        eps: added to the standard deviations.
    """

    gamma: float = 0.95
    idle_cost: float = 0.1
    step_weight: float = 1.0
    episode_weight: float = 1.0
    measure: Literal["discounted", "commands"] = "discounted"
    key: Key = "text"
    ways: bool = True
    lifted: bool = False
    history: bool = False
    std: bool = True
    baseline: Literal["episode", "step"] = "episode"
    eps: float = 1e-6

    paper: ClassVar[str] = "none; of this project"
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[Claim]] = frozenset()

    def __post_init__(self) -> None:
        check_range("gamma", self.gamma, 0.0, 1.0)
        check_range("idle_cost", self.idle_cost, 0.0)
        check_range("step_weight", self.step_weight, 0.0)
        check_range("episode_weight", self.episode_weight, 0.0)
        check_choice("measure", self.measure, ("discounted", "commands"))
        check_choice("key", self.key, KEYS)
        check_choice("baseline", self.baseline, ("episode", "step"))
        check_range("eps", self.eps, 0.0)

    @property
    def needs(self) -> frozenset[str]:
        """The columns of the key, the inferred transitions, and what `lifted` and `history` read."""
        added = (
            ("inferred_transitions", self._inferred),
            ("lifted_distance", self.lifted),
            ("next_lifted_distance", self.lifted),
            ("past", self.history),
        )
        return key_columns(self.key) | {name for name, read in added if read}

    @property
    def _inferred(self) -> bool:
        return self.ways and self.key == "text"

    def __call__(self, batch: Batch) -> Credit:
        """episode_weight A^E + step_weight A^S."""
        base = GRPO(baseline=self.baseline, std=self.std, eps=self.eps)(batch)
        graph = merged_graph(batch, self.key, inferred=self._inferred, past=self.history)
        known = self._distances(batch, graph)
        on_path = torch.stack([before >= 0 for before, _ in known]).any(dim=0)
        idle = (graph.before == graph.after) & on_path
        gain = self._shortened(batch, known) if self.measure == "commands" else self._gained(graph, known)
        per_step = ops.standardised(gain, batch.group_of_step, batch.num_steps, eps=self.eps)
        part = ops.spread_steps(per_step, batch.tokens.step_of_token).to(base.advantages.dtype)
        metrics = {
            "step_advantage_abs": float(ops.masked_mean(part.abs(), batch.action_mask)),
            "steps_with_path_to_goal": float(on_path.double().mean()),
            "steps_idle": float(idle.double().mean()),
        }
        advantages = self.episode_weight * base.advantages + self.step_weight * part
        return Credit(advantages, metrics={**base.metrics, **metrics}, may_zero_steps=True)

    def _distances(self, batch: Batch, graph: StateGraph) -> list[tuple[Tensor, Tensor]]:
        """[S] D before and after each step, on the graphs of group and forms; -1: no path known."""
        distance = graph.distance()
        own = torch.where(torch.isfinite(distance), distance, -1.0).double()
        found = [(own[graph.before], own[graph.after])]
        if self.lifted:
            names = ("lifted_distance", "next_lifted_distance")
            before, after = (computed(getattr(batch.steps, name), f"steps.{name}") for name in names)
            found.append((before.double(), after.double()))
        return found

    def _gained(self, graph: StateGraph, known: list[tuple[Tensor, Tensor]]) -> Tensor:
        """[S] c_t of the discounted distances."""

        def value(distances: tuple[Tensor, ...]) -> Tensor:
            return torch.stack([torch.where(far < 0, 0.0, self.gamma**far) for far in distances]).sum(dim=0)

        before, after = (value(distances) for distances in zip(*known, strict=True))
        idle = (graph.before == graph.after) & (before > 0)
        return after - before - self.idle_cost * (1 - self.gamma) * idle

    def _shortened(self, batch: Batch, known: list[tuple[Tensor, Tensor]]) -> Tensor:
        """[S] by how many commands each step shortened the paths."""
        episode = batch.steps.episode_of_step
        return torch.stack([nearer(before, after, episode) for before, after in known]).sum(dim=0)
