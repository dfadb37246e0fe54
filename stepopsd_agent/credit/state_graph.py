"""The attempts of a group as one graph: nodes are what the steps acted on and led to, edges are the steps.

Steps of earlier updates at the same task, and inferred transitions that no attempt took, may add edges. They
change distances, but they are not steps of the batch and get no credit.

Published methods differ in what makes two states one node (the key), in the value of a node, and in which
steps are compared with each other. The key is a setting of all of them:

- "observation": the exact text that the step acted on, as published. Different states may show the same text.
- "state": the simulator's hash of its state, for environments that report it in `info`.
- "text": the facts about the world that the texts so far give, as the environment's task spec reads them. It
  needs no access to the simulator.
"""

from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch, Past, Steps
from stepopsd_agent.credit.base import computed
from stepopsd_agent.credit.whole_episodes import check_whole

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
        """[V] float64, length of a shortest path from a node to a goal of its group; inf where there is none.

        Bellman-Ford from the goals backwards, all groups at once: about as many rounds as the longest
        shortest path has edges.
        """
        lengths = torch.full(self.goal.shape, torch.inf, dtype=torch.float64, device=self.goal.device)
        lengths[self.goal] = 0.0
        edges = zip((self.before, self.after, torch.ones_like(self.before)), self.others, strict=True)
        before, after, steps = (torch.cat(pair) for pair in edges)
        while True:
            nearer = lengths.scatter_reduce(0, before, lengths[after] + steps, "amin")
            if torch.equal(nearer, lengths):
                return lengths
            lengths = nearer

    def with_unreachable(self, distance: Tensor) -> Tensor:
        """[V] the distances; an infinite one becomes the largest finite one of its group plus 1."""
        known = torch.where(distance.isfinite(), distance, 0)
        furthest = known.new_zeros(int(self.group.max()) + 1).scatter_reduce(0, self.group, known, "amax")
        return torch.where(distance.isfinite(), distance, furthest[self.group] + 1)


def merged_graph(
    batch: Batch, key: Key, *, one_goal: bool = False, inferred: bool = False, past: bool = False
) -> StateGraph:
    """The graph of every group of a batch.

    Args:
        batch: with the columns of the key.
        key: what makes two states one node, see `Key`.
        one_goal: let the last steps of all successful episodes of a group lead to one added goal node,
            instead of the nodes where they ended.
        inferred: add the edges of `Batch.inferred_transitions`; their keys are of "text", so `key` must be.
        past: add the edges and goals of `Batch.past`, steps of earlier updates at the same tasks.

    Raises:
        MissingColumnError: the batch lacks the key's columns, `inferred_transitions` or `past`.
        ValueError: there is no such key, or an episode has steps that the batch lacks, before its end.
    """
    if key not in _COLUMNS:
        raise ValueError(f"key is {key!r}; it must be one of {', '.join(KEYS)}")
    check_whole(batch)
    taken = _edges(batch.steps, "steps", key, batch.group_of_step)
    won = batch.last_step & batch.episodes.success[batch.steps.episode_of_step]
    edges = [(*taken, won, torch.ones_like(taken[0]))]
    if past:
        earlier = computed(batch.past, "past")
        kept = _edges(earlier, "past", key, earlier.group_of_step)
        edges.append((*kept, earlier.won, torch.ones_like(kept[0])))
    if inferred:
        more = computed(batch.inferred_transitions, "inferred_transitions")
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


def graph_metrics(batch: Batch, graph: StateGraph, per_step: Tensor) -> dict[str, float]:
    """Metrics of the graphs and of the credit that they gave, `per_step` [S].

    A step counts as having graph credit if its absolute value is 0.01 or more; less is negligible beside the
    advantage of its episode.
    """
    part = ops.spread_steps(per_step, batch.tokens.step_of_token)
    left_again = ops.group_count(graph.before, graph.num_nodes)[graph.before] > 1
    return {
        "graph_advantage_abs": float(ops.masked_mean(part.abs(), batch.action_mask)),
        "steps_with_graph_credit": float((per_step.abs() >= 0.01).double().mean()),
        "steps_from_shared_node": float(left_again.double().mean()),
        "nodes_per_group": graph.num_nodes / (int(graph.group.max()) + 1),
    }


def nearer(before: Tensor, after: Tensor, episode: Tensor) -> Tensor:
    """[S] by how many commands each step shortened the shortest plan.

    Args:
        before: [S] distance before each step; negative: the goal is out of reach.
        after: [S] the same after it.
        episode: [S] of the step, in ascending order.
    """
    first = before[torch.searchsorted(episode, episode)]
    beyond = first.clamp(min=0) + 1  # further away than anything the episode began with
    known_before = torch.where(before >= 0, before, beyond)
    known_after = torch.where(after >= 0, after, known_before + beyond)
    lost = (before < 0) & (after < 0)
    return torch.where(lost, 0, known_before - known_after)
