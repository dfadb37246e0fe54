"""Signals of policy, hindsight teacher and state graph about every command of a state, taken or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.credit.choices import Choice, Place
from stepopsd_agent.accuracy import Array
from stepopsd_agent.batch import Batch, collate
from stepopsd_agent.config import HindsightConfig, Position
from stepopsd_agent.credit import Key, merged_graph
from stepopsd_agent.hindsight import hindsight_blocks
from stepopsd_agent.learner import commands_of_group, fill
from stepopsd_agent.models import Policy, Scorer
from stepopsd_agent.models.packed import Branch, Tree
from stepopsd_agent.tasks import world_number
from stepopsd_wrappers import Episode

_KEY_COLUMNS = {
    "observation": ("anchor", "next_anchor"),
    "state": ("state", "next_state"),
    "text": ("text_key", "next_text_key"),
}


def row_before(place: Place) -> tuple[list[int], int]:
    """Ids that the policy continued at a step, and how many stood before its row's first response."""
    ids, first = list[int](), 0
    steps = place.episode.steps[1 : place.index + 1]
    for number, step in enumerate(steps, start=1):
        assert step.tokens is not None
        if step.tokens.new_row:
            ids, first = [], len(step.tokens.prompt_ids)
        ids += step.tokens.prompt_ids
        if number < len(steps):
            ids += step.tokens.sampled_ids
    return ids, first


def with_block(row: tuple[list[int], int], block: Sequence[int], position: Position) -> list[int]:
    """The row with a hindsight block behind its prompt ("prefix"), or at its end ("inline")."""
    ids, first = row
    at = first if position == "prefix" else len(ids)
    return [*ids[:at], *block, *ids[at:]]


def command_logprobs(
    scorer: Scorer, rows: Sequence[list[int]], responses: Sequence[list[list[int]]]
) -> list[Array]:
    """Log-probability (nats) of each response, its end included, behind the ids of its row."""
    trees = [
        # A branch needs a block to be predicted from: the last id of the row.
        Tree(tuple(ids[:-1]), tuple(Branch(len(ids) - 1, (ids[-1],), tuple(one)) for one in some))
        for ids, some in zip(rows, responses, strict=True)
    ]
    scored = scorer.logprobs(trees)
    return [np.array([float(one.sum()) for one in targets]) for _, targets in scored]


def model_signals(
    policy: Policy,
    scorer: Scorer,
    hindsight: HindsightConfig,
    groups: dict[int, list[Episode]],
    choices: Sequence[Choice],
) -> dict[str, list[Array]]:
    """Log-probabilities of policy and hindsight teacher, and the teacher's gap, as sums and per token."""
    blocks = dict[tuple[int, int], Sequence[int]]()
    for members in groups.values():
        for one, block in zip(members, hindsight_blocks(policy, hindsight, members), strict=True):
            if isinstance(block, Mapping):
                raise ValueError(
                    f"hindsight {hindsight.mode!r} tells what followed a command, which is known of one alone"
                )
            blocks[one.group, one.member] = block
    responses = [[policy.prompt_format.response_ids(text) for text in one.commands] for one in choices]
    rows = [row_before(one.place) for one in choices]
    behind = [
        with_block(row, blocks[one.place.episode.group, one.place.episode.member], hindsight.position)
        for row, one in zip(rows, choices, strict=True)
    ]
    student = command_logprobs(scorer, [ids for ids, _ in rows], responses)
    teacher = command_logprobs(scorer, behind, responses)
    sizes = [np.array([len(one) for one in some], dtype=float) for some in responses]
    gaps = [t - s for t, s in zip(teacher, student, strict=True)]
    return {
        "policy's log-probability": student,
        "policy's log-probability, per token": [x / n for x, n in zip(student, sizes, strict=True)],
        "teacher's log-probability": teacher,
        "hindsight gap": gaps,
        "hindsight gap, per token": [x / n for x, n in zip(gaps, sizes, strict=True)],
    }


@dataclass(frozen=True)
class GroupGraph:
    """The state graph of the attempts at one task, with values.

    Attributes:
        values: value of every node that was visited, by its key.
        led: keys of the nodes that a command led to, by the key of the node before and the command.
        idle_cost: of a command that leaves the node unchanged, where a path to a goal is known.
        keys: key of the node before each step, by member and index.
    """

    values: dict[int, float]
    led: dict[tuple[int, str], list[int]]
    idle_cost: float
    keys: dict[tuple[int, int], int]

    def gains(self, one: Choice) -> tuple[Array, Array]:
        """[commands] gain in value, 0 where it is unknown, and [commands] 1 where it is known, else 0."""
        here = self.keys[one.place.episode.member, one.place.index]
        reached = [self.led.get((here, command), []) for command in one.commands]
        idle_cost = self.idle_cost if self.values[here] > 0 else 0.0
        each = [
            [self.values[key] - self.values[here] - idle_cost * (key == here) for key in keys]
            for keys in reached
        ]
        gains = np.array([float(np.mean(some)) if some else 0.0 for some in each])
        return gains, np.array([float(bool(keys)) for keys in reached])


def path_values(
    members: Sequence[Episode],
    key: Key,
    *,
    inferred: bool,
    gamma: float = 0.95,
    idle_cost: float = 0.1,
) -> GroupGraph:
    """The values of `path_gain`, by its defaults; with `inferred` its transitions, for commands not given."""
    batch = _keyed(members, key, inferred)
    graph = merged_graph(batch, key, inferred=inferred)
    value = (gamma ** graph.distance()).tolist()
    before, after = (getattr(batch.steps, name).tolist() for name in _KEY_COLUMNS[key])
    nodes = [*graph.before.tolist(), *graph.after.tolist()]
    values = {one: value[node] for one, node in zip([*before, *after], nodes, strict=True)}
    keys, led = _taken(members, batch, key)
    if inferred:
        for command, before, after in commands_of_group(members):
            led.setdefault((world_number(before), command.strip()), [world_number(after)])
    return GroupGraph(values, led, idle_cost * (1 - gamma), keys)


def mean_return(members: Sequence[Episode], key: Key, *, gamma: float = 0.95) -> GroupGraph:
    """The values of `g2po`: the mean, over visits of the node, of the discounted success that followed."""
    batch = _keyed(members, key, False)
    keys, led = _taken(members, batch, key)
    after = getattr(batch.steps, _KEY_COLUMNS[key][1]).tolist()
    visits = dict[int, list[float]]()
    for step, (number, index) in enumerate(_steps(batch)):
        episode = members[number]
        left = len(episode.steps) - 1 - index
        here = keys[episode.member, index]
        visits.setdefault(here, []).append(gamma ** (left + 1) * episode.success)
        if left == 0:
            visits.setdefault(after[step], []).append(float(episode.success))
    return GroupGraph({key: float(np.mean(some)) for key, some in visits.items()}, led, 0.0, keys)


def _keyed(members: Sequence[Episode], key: Key, inferred: bool) -> Batch:
    needs = {*_KEY_COLUMNS[key], *(["inferred_transitions"] if inferred else [])}
    return fill(collate(members), members, needs, None)


def _steps(batch: Batch) -> list[tuple[int, int]]:
    """Number of the episode, and index in it, of every step."""
    owners, indices = batch.steps.episode_of_step.tolist(), batch.steps.index_in_episode.tolist()
    return list(zip(owners, indices, strict=True))


def _taken(
    members: Sequence[Episode], batch: Batch, key: Key
) -> tuple[dict[tuple[int, int], int], dict[tuple[int, str], list[int]]]:
    """Keys of the nodes before steps, and of those that commands led to; as in `GroupGraph`."""
    before, after = (getattr(batch.steps, name).tolist() for name in _KEY_COLUMNS[key])
    keys, led = dict[tuple[int, int], int](), dict[tuple[int, str], list[int]]()
    for step, (number, index) in enumerate(_steps(batch)):
        episode = members[number]
        keys[episode.member, index] = before[step]
        command = episode.steps[index].action.strip()
        led.setdefault((before[step], command), []).append(after[step])
    return keys, led
