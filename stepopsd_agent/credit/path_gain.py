"""PathGain, of this project: a step is credited with how much it shortened the path to a goal of its group.

The attempts of a group are merged into one graph (`state_graph`). Its nodes are the facts about the world
that the texts so far give. With D(k) the length of a shortest path from node k to a node where a successful
attempt ended, along steps that attempts of the group took and transitions inferred from them (`ways`):

    V(k) = gamma^D(k), and 0 where no path leads to a goal
    c_t  = V(k_(t+1)) - V(k_t) - idle_cost (1 - gamma) [k_(t+1) = k_t and V(k_t) > 0]
    A^S  = (c_t - mean c) / (std c + eps)    over all steps of the group
    A    = A^E + step_weight A^S,  A^E the advantage of GRPO

It needs no teacher, no critic and no further attempts: it reads texts and outcomes only. Two things set it
apart from the published graph methods. The value of a node is the best outcome found from there, not a mean
over attempts, so a good node that failures visited keeps its value. And the credit is the change of that
value, compared over the whole group, so no other attempt has to act from the same node.

The cost of idle steps only breaks ties with other steps that leave D unchanged. At 1 forward steps are ranked
equally well, but an idle step counts at least as much as a step backwards, and policies that seldom win learn
to change the world at any price. For the same reason an idle step costs nothing where no path is known.

Assumptions: the environment is deterministic, and the key tells apart the states that matter. Failure modes:
where the key merges states that differ, or a command does more than its texts say, the graph has paths that
do not exist; a step towards a goal along a path that no attempt finished gains nothing; and a step off all
known paths loses the whole value of the node that it left.

Degenerate cases: a group without success gives zero, and so does one whose steps all have the same gain.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import Claim, Credit, check_choice, check_range
from stepopsd_agent.credit.grpo import GRPO
from stepopsd_agent.credit.state_graph import KEYS, Key, key_columns, merged_graph


@dataclass(frozen=True)
class PathGain:
    """GRPO over episodes, plus the gain in value of every step on the graph of the group.

    Attributes:
        gamma: discount per step of the path to the goal.
        idle_cost: cost of a step that leaves its node unchanged where a path is known, in units of
            1 - gamma: the gain of the last step before the goal.
        step_weight: weight of A^S.
        key: what makes two states one node, see `state_graph`.
        ways: with text keys, add transitions that no attempt took, see `learner.inferred_transitions`.
        history: add the steps and goals of earlier updates at the same task.
        std: divide A^E by its standard deviation, as in `grpo`.
        baseline: of A^E, as in `grpo`.
        eps: added to the standard deviations.
    """

    gamma: float = 0.95
    idle_cost: float = 0.1
    step_weight: float = 1.0
    key: Key = "text"
    ways: bool = True
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
        check_choice("key", self.key, KEYS)
        check_choice("baseline", self.baseline, ("episode", "step"))
        check_range("eps", self.eps, 0.0)

    @property
    def needs(self) -> frozenset[str]:
        """The columns of the key, the inferred transitions, and with `history` the past."""
        added = (("inferred_transitions", self._inferred), ("past", self.history))
        return key_columns(self.key) | {name for name, read in added if read}

    @property
    def _inferred(self) -> bool:
        return self.ways and self.key == "text"

    def __call__(self, batch: Batch) -> Credit:
        """A^E + step_weight A^S."""
        base = GRPO(baseline=self.baseline, std=self.std, eps=self.eps)(batch)
        graph = merged_graph(batch, self.key, inferred=self._inferred, past=self.history)
        value = self.gamma ** graph.distance()  # 0 where the distance is infinite
        idle = (graph.before == graph.after) & (value[graph.before] > 0)
        gain = value[graph.after] - value[graph.before] - self.idle_cost * (1 - self.gamma) * idle
        per_step = ops.standardised(gain, batch.group_of_step, batch.num_steps, eps=self.eps)
        part = ops.spread_steps(per_step, batch.tokens.step_of_token).to(base.advantages.dtype)
        metrics = {
            "step_advantage_abs": float(ops.masked_mean(part.abs(), batch.action_mask)),
            "steps_with_path_to_goal": float((value[graph.before] > 0).double().mean()),
            "steps_idle": float(idle.double().mean()),
        }
        advantages = base.advantages + self.step_weight * part
        return Credit(advantages, metrics={**base.metrics, **metrics}, may_zero_steps=True)
