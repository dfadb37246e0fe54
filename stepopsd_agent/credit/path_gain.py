"""PathGain, of this project: a step is worth by how much it shortened the way to a goal that was once walked.

The attempts of a group are merged into one graph (`state_graph`), its nodes being what the texts so far tell
about the world. With D(k) the fewest steps from node k to a place where a successful attempt ended, along
steps that any attempt of the group took, or that the effects of its commands elsewhere imply (`ways`):

    V(k) = gamma^D(k), and 0 where no goal is reached
    c_t  = V(k_(t+1)) - V(k_t) - idle_cost (1 - gamma) [k_(t+1) = k_t and V(k_t) > 0]
    A^S  = (c_t - mean c) / (std c + eps)    over all steps of the group
    A    = A^E + step_weight A^S,  A^E the advantage of GRPO

It needs no teacher, no critic and no further attempts: texts and outcomes are all it reads. Two things set it
apart from the published graph methods: the value of a node is the best that was found from there, not a mean
over attempts, so a good place visited by failures keeps its value; and the credit is the change of that
value, compared over the whole group, so that a step need not be repeated from the same node to be judged.

The cost of idle steps is there to break ties with steps sideways, no more: at 1, which ranks forward steps as
well, idle steps count as badly as steps backwards, and policies that win seldom learn to change the world at
any price. For the same reason it costs nothing where no way to a goal is known.

Assumptions: the world answers the same command in the same place in the same way, and the texts tell apart
the places that matter. Failure modes: where the key merges places that differ, or a command does more than
its texts tell, the graph has ways that nobody can walk; a step that opens a way nobody took is worth nothing,
and one that leaves all known ways loses the whole value of the place that it left.

Degenerate cases: a group without success gives zero, and so does one whose steps are all worth the same.
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
        gamma: discount per step of the way to the goal.
        idle_cost: cost of a step that leaves the world as it was where a way is known, in steps of the
            shortest way at the goal.
        step_weight: weight of the steps' part.
        key: what makes two places one, see `state_graph`.
        ways: with text keys, also go ways that nobody walked, see `learner.inferred_ways`.
        history: also go the ways of earlier updates at the same task, to the goals that were found then.
        std: divide the episodes' part by its standard deviation, as in `grpo`.
        baseline: of the episodes' part, as in `grpo`.
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
        """The columns of the key, the ways, and with `history` the past."""
        more = {name for name, read in (("ways", self._by_ways), ("past", self.history)) if read}
        return key_columns(self.key) | more

    @property
    def _by_ways(self) -> bool:
        return self.ways and self.key == "text"

    def __call__(self, batch: Batch) -> Credit:
        """Both advantages, the steps' one weighted."""
        base = GRPO(baseline=self.baseline, std=self.std, eps=self.eps)(batch)
        graph = merged_graph(batch, self.key, ways=self._by_ways, past=self.history)
        value = self.gamma ** graph.distance()  # 0 where the distance is infinite
        idle = (graph.before == graph.after) & (value[graph.before] > 0)
        gain = value[graph.after] - value[graph.before] - self.idle_cost * (1 - self.gamma) * idle
        per_step = ops.standardised(gain, batch.group_of_step, batch.num_steps, eps=self.eps)
        part = ops.spread_steps(per_step, batch.tokens.step_of_token).to(base.advantages.dtype)
        metrics = {
            "step_advantage_abs": float(ops.masked_mean(part.abs(), batch.action_mask)),
            "steps_on_a_way": float((value[graph.before] > 0).double().mean()),
            "steps_idle": float(idle.double().mean()),
        }
        advantages = base.advantages + self.step_weight * part
        return Credit(advantages, metrics={**base.metrics, **metrics}, may_zero_steps=True)
