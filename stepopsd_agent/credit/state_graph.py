"""The attempts of a group as one graph: nodes are what the steps acted on and led to, edges are the steps.

Published methods differ in what makes two nodes one (the key), in the value of a node, and in which steps are
compared with each other. The key is a setting of all of them:

- "observation": the exact text that the step acted on, as published. Different places may show the same text.
- "state": the simulator's own hash of its state; for worlds that tell it.
- "text": what the texts so far tell about the world, as the environment's task spec reads them; for people
  without a simulator.
"""

from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch, Steps, Ways
from stepopsd_agent.credit.base import computed

Key = Literal["observation", "state", "text"]
KEYS: tuple[str, ...] = ("observation", "state", "text")
_COLUMNS = {
    "observation": ("anchor", "next_anchor"),
    "state": ("state", "next_state"),
    "text": ("text_key", "next_text_key"),
}


def key_columns(key: Key) -> frozenset[str]:
    """The columns that hold a key and that a batch may lack, for `CreditMethod.needs`."""
    optional = {spec.name for spec in fields(Steps) if spec.default is None}
    return frozenset(_COLUMNS[key]) & optional


@dataclass(frozen=True, eq=False, slots=True)
class StateGraph:
    """The merged graphs of all groups of a batch: S edges between V nodes, no edge leaving its group."""

    before: Tensor
    """[S] node that the step acted on."""
    after: Tensor
    """[S] node that the step led to."""
    goal: Tensor
    """[V] bool, True where a successful episode ended."""
    group: Tensor
    """[V] group of the node."""
    ways: tuple[Tensor, Tensor, Tensor] | None = None
    """Nodes before and after, and steps, of ways that nobody walked; [M] each."""

    @property
    def num_nodes(self) -> int:
        """Nodes of all groups, V."""
        return self.goal.shape[0]

    def distance(self) -> Tensor:
        """[V] fewest steps from a node to a goal of its group along edges and other ways; else inf.

        From the goals backwards, all groups at once: as many rounds as the longest of the shortest ways.
        """
        found = torch.full(self.goal.shape, torch.inf, dtype=torch.float64, device=self.goal.device)
        found[self.goal] = 0.0
        before, after, steps = self.before, self.after, torch.ones_like(self.before)
        if self.ways is not None:
            edges = zip((before, after, steps), self.ways, strict=True)
            before, after, steps = (torch.cat(pair) for pair in edges)
        while True:
            nearer = found.scatter_reduce(0, before, found[after] + steps, "amin")
            if torch.equal(nearer, found):
                return found
            found = nearer


def merged_graph(batch: Batch, key: Key, *, one_goal: bool = False, ways: bool = False) -> StateGraph:
    """The graph of every group of a batch.

    Args:
        batch: with the columns of the key.
        key: what makes two nodes one, see `Key`.
        one_goal: let the last steps of all successful episodes of a group lead to one node of their own,
            instead of the places where they ended.
        ways: add the ways of the batch that nobody walked; they join worlds, so the key has to be "text".

    Raises:
        MissingColumnError: the batch lacks the key's columns.
        ValueError: there is no such key, or the way of an episode to its end has steps that the batch lacks.
    """
    if key not in _COLUMNS:
        raise ValueError(f"key is {key!r}; it must be one of {', '.join(KEYS)}")
    _check_whole(batch)
    names = _COLUMNS[key]
    before, after = (computed(getattr(batch.steps, name), f"steps.{name}") for name in names)
    won = batch.last_step & batch.episodes.success[batch.steps.episode_of_step]
    kind = (won if one_goal else torch.zeros_like(won)).to(torch.int64)
    group = batch.group_of_step
    more = computed(batch.ways, "ways") if ways else Ways(*[group[:0]] * 4)
    groups = torch.cat([group, group, more.group, more.group])
    nodes = ops.joined_ids(
        groups,
        torch.cat([torch.zeros_like(kind), kind, *[torch.zeros_like(more.group)] * 2]),
        torch.cat([before, torch.where(kind == 1, 0, after), more.before, more.after]),
    )
    count, steps = int(nodes.max()) + 1, batch.num_steps
    extra = nodes[2 * steps :].reshape(2, -1)
    goal = torch.zeros(count, dtype=torch.bool, device=nodes.device)
    goal[nodes[steps : 2 * steps][won]] = True
    of_group = torch.empty(count, dtype=torch.int64, device=nodes.device)
    of_group[nodes] = groups
    joined = (extra[0], extra[1], more.steps) if ways else None
    return StateGraph(nodes[:steps], nodes[steps : 2 * steps], goal, of_group, joined)


def _check_whole(batch: Batch) -> None:
    """Refuse episodes with steps missing after their first in the batch: the way to their end has a hole."""
    steps, last = batch.steps, batch.last_step
    follows = steps.index_in_episode[1:] == steps.index_in_episode[:-1] + 1
    holes = ~(follows | last[:-1])
    if batch.episodes.num_steps is not None:
        ends = batch.episodes.num_steps[steps.episode_of_step]
        holes = torch.cat([holes, holes.new_zeros(1)]) | (last & (steps.index_in_episode != ends))
    if holes.any():
        episode = int(steps.episode_of_step[int(holes.nonzero()[0])])
        raise ValueError(
            f"episode {episode} of the batch has steps without sampled tokens behind others: its way to the "
            "end is not known; use episodes whose every step after the first sampled one was sampled"
        )


def graph_metrics(batch: Batch, graph: StateGraph, per_step: Tensor) -> dict[str, float]:
    """What there was to compare in the graphs, and how much credit `per_step` [S] came of it.

    A step counts as having graph credit from 0.01 on: less is lost beside that of its episode.
    """
    part = ops.spread_steps(per_step, batch.tokens.step_of_token)
    left_again = ops.group_count(graph.before, graph.num_nodes)[graph.before] > 1
    return {
        "graph_advantage_abs": float(ops.masked_mean(part.abs(), batch.action_mask)),
        "steps_with_graph_credit": float((per_step.abs() >= 0.01).double().mean()),
        "steps_from_shared_place": float(left_again.double().mean()),
        "places_per_group": graph.num_nodes / (int(graph.group.max()) + 1),
    }
