"""The attempts of a group as one graph: nodes are what the steps acted on and led to, edges are the steps.

Edges of earlier updates at the same task, and ways that nobody walked, may join the graph; they change
distances, and are no steps of the batch.

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
from stepopsd_agent.batch import Batch, Past, Steps
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
    """The merged graphs of all groups of a batch: S steps between V nodes, no edge leaving its group."""

    before: Tensor
    """[S] node that the step acted on."""
    after: Tensor
    """[S] node that the step led to."""
    goal: Tensor
    """[V] bool, True where a successful episode ended."""
    group: Tensor
    """[V] group of the node."""
    others: tuple[Tensor, Tensor, Tensor]
    """Nodes before and after, and length, of edges that are no steps of the batch; [M] each."""

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
        edges = zip((self.before, self.after, torch.ones_like(self.before)), self.others, strict=True)
        before, after, steps = (torch.cat(pair) for pair in edges)
        while True:
            nearer = found.scatter_reduce(0, before, found[after] + steps, "amin")
            if torch.equal(nearer, found):
                return found
            found = nearer

    def with_unreachable(self, distance: Tensor) -> Tensor:
        """[V] the distances, where there is none the largest of the group and 1 more."""
        known = torch.where(distance.isfinite(), distance, 0)
        furthest = known.new_zeros(int(self.group.max()) + 1).scatter_reduce(0, self.group, known, "amax")
        return torch.where(distance.isfinite(), distance, furthest[self.group] + 1)


def merged_graph(
    batch: Batch, key: Key, *, one_goal: bool = False, ways: bool = False, past: bool = False
) -> StateGraph:
    """The graph of every group of a batch.

    Args:
        batch: with the columns of the key.
        key: what makes two nodes one, see `Key`.
        one_goal: let the last steps of all successful episodes of a group lead to one node of their own,
            instead of the places where they ended.
        ways: add the ways of the batch that nobody walked; they join worlds, so the key has to be "text".
        past: add where the steps of earlier updates at the same tasks led, their goals included.

    Raises:
        MissingColumnError: the batch lacks the key's columns, or what is to be added.
        ValueError: there is no such key, or the way of an episode to its end has steps that the batch lacks.
    """
    if key not in _COLUMNS:
        raise ValueError(f"key is {key!r}; it must be one of {', '.join(KEYS)}")
    _check_whole(batch)
    walked = _edges(batch.steps, "steps", key, batch.group_of_step)
    won = batch.last_step & batch.episodes.success[batch.steps.episode_of_step]
    edges = [(*walked, won, torch.ones_like(walked[0]))]
    if past:
        earlier = computed(batch.past, "past")
        kept = _edges(earlier, "past", key, earlier.group_of_step)
        edges.append((*kept, earlier.won, torch.ones_like(kept[0])))
    if ways:
        more = computed(batch.ways, "ways")
        never = torch.zeros_like(more.group, dtype=torch.bool)
        edges.append((more.group, more.before, more.after, never, more.steps))
    group, before, after, won, length = (torch.cat(parts) for parts in zip(*edges, strict=True))
    kind = (won if one_goal else torch.zeros_like(won)).to(torch.int64)
    nodes = ops.joined_ids(
        torch.cat([group, group]),
        torch.cat([torch.zeros_like(kind), kind]),
        torch.cat([before, torch.where(kind == 1, 0, after)]),
    )
    source, target = nodes.reshape(2, -1)
    count, steps = int(nodes.max()) + 1, batch.num_steps
    goal = torch.zeros(count, dtype=torch.bool, device=nodes.device)
    goal[target[won]] = True
    of_group = torch.empty(count, dtype=torch.int64, device=nodes.device)
    of_group[nodes] = torch.cat([group, group])
    others = source[steps:], target[steps:], length[steps:]
    return StateGraph(source[:steps], target[:steps], goal, of_group, others)


def _edges(table: Steps | Past, name: str, key: Key, group: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Group, key before and key after of the steps of a table."""
    before, after = (computed(getattr(table, column), f"{name}.{column}") for column in _COLUMNS[key])
    return group, before, after


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
