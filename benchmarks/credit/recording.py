"""A recording as credit methods see it: batches as in training, with the columns that a method needs.

Columns that need a model are computed once and kept beside the recording together with their cost, so that a
method added later is judged on the same episodes within a minute.
"""

import json
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.credit.sets import SETS, Part, Stage, recorded, stage_policy
from stepopsd_agent import credit
from stepopsd_agent.batch import Batch, collate, column_fields
from stepopsd_agent.config import Position, RunConfig
from stepopsd_agent.hindsight import batch_logprobs, hindsight_blocks, untold_rows
from stepopsd_agent.learner import Critic, TaskHistory, fill, recorded_columns
from stepopsd_agent.models import Policy, Scorer
from stepopsd_wrappers import Episode, read_episodes

CRITIC_UPDATES = 30
KEPT = frozenset({"teacher_logprobs", "informed", "value"})
"""Columns that a model computes."""


@dataclass
class Cost:
    """Cost of columns: tokens scored, and CPU seconds."""

    tokens: int = 0
    seconds: float = 0.0


@dataclass
class Recording:
    """The episodes of one stage and part, in batches of as many groups as an update of training has.

    Attributes:
        place: its folder.
        config: settings of the training that the policy comes from.
        policy: the one that acted; also the teacher, with the same weights.
        parts: the episodes of each batch.
        batches: each with the columns that were filled.
        whole: whether these are all groups; otherwise columns are not kept.
        columns: folder in which they are kept, beside the episodes.
        costs: of the columns, by name.
    """

    place: Path
    config: RunConfig
    policy: Policy
    parts: list[list[Episode]]
    batches: list[Batch]
    whole: bool = True
    columns: str = "columns"
    costs: dict[str, Cost] = field(default_factory=dict)

    def prepare(self, needs: Collection[str]) -> None:
        """Fill the columns that are needed and not there."""
        filled = {name for name, spec in column_fields().items() if "filled" in spec.metadata}
        for name in sorted(filled.intersection(needs) - set(self.costs)):
            if name in recorded_columns():
                self.costs[name] = self._recorded(name)
                continue
            columns, cost = self._kept(name) if name in KEPT and self.whole else self._computed(name)
            self.batches = [
                batch.with_columns(**{name: column})
                for batch, column in zip(self.batches, columns, strict=True)
            ]
            self.costs[name] = cost

    def _recorded(self, name: str) -> Cost:
        """Fill a column that takes no model; the batches before are its history, as in training."""
        began, history = time.process_time(), TaskHistory({name}) if name == "lifted_distance" else None
        for place, part in enumerate(self.parts):
            self.batches[place] = fill(self.batches[place], part, {name}, None, history=history)
            if history is not None:
                history.add(self.batches[place], part)
        return Cost(0, time.process_time() - began)

    def _kept(self, name: str) -> tuple[list[Tensor], Cost]:
        """From the file beside the recording, which is made if it is missing."""
        path = self.place / self.columns / f"{name}.safetensors"
        if not path.exists():
            columns, cost = self._computed(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file({str(n): column for n, column in enumerate(columns)}, path)
            path.with_suffix(".json").write_text(json.dumps(vars(cost)), encoding="utf-8")
        found = load_file(path)
        cost = Cost(**json.loads(path.with_suffix(".json").read_text(encoding="utf-8")))
        return [found[str(number)] for number in range(len(found))], cost

    def _computed(self, name: str) -> tuple[list[Tensor], Cost]:
        scorer = Scorer(self.policy, temperature=self.config.rollout.temperature)
        began = time.process_time()
        if name == "value":
            columns = self._values(scorer)
        elif name == "student_logprobs":
            columns = [self._student(n, scorer) for n in range(len(self.batches))]
        else:
            columns = [
                fill(batch, part, {name}, self.policy, scorer=scorer, hindsight=self.config.hindsight).column(
                    name
                )
                for batch, part in zip(self.batches, self.parts, strict=True)
            ]
        return columns, Cost(scorer.budget.take(), time.process_time() - began)

    def _student(self, number: int, scorer: Scorer) -> Tensor:
        """The student's log-probabilities in the passes that `fill` takes beside a teacher.

        Then an episode that is told nothing has a gap of exactly 0. Both columns at once would score the
        teacher, which is kept, again.
        """
        batch, position = self.batches[number], self.config.hindsight.position
        blocks = hindsight_blocks(self.policy, self.config.hindsight, self.parts[number])
        return batch_logprobs(scorer, batch, (), position, untold_rows(batch, blocks, position))

    def _values(self, scorer: Scorer) -> list[Tensor]:
        """Values of a critic that was trained on the other half of the groups."""
        method, values = credit.make("turn_gae"), [torch.empty(0)] * len(self.batches)
        for half in (0, 1):
            critic = Critic(self.policy, self.config.critic)
            others = [batch for number, batch in enumerate(self.batches) if number % 2 != half]
            others = others or self.batches  # a short run has one batch
            for update in range(CRITIC_UPDATES):
                batch = others[update % len(others)]
                filled = batch.with_columns(value=critic.values(batch, scorer.budget))
                targets = method(filled).value_targets
                assert targets is not None
                critic.learn(batch, targets)
            for number in range(half, len(self.batches), 2):
                values[number] = critic.values(self.batches[number], scorer.budget)
        return values


def load_recording(
    root: Path, name: str, stage: Stage, part: Part, most: int | None = None, position: Position | None = None
) -> Recording:
    """A recording; with `most`, only its first `most` groups, with `position` hindsight is read there."""
    config, place = SETS[name].settings(), recorded(root, name, stage, part)
    columns = "columns" if position is None else f"columns/{position}"
    if position is not None:
        config = replace(config, hindsight=replace(config.hindsight, position=position))
    policy = stage_policy(root, name, stage)
    episodes = [e for e in read_episodes(place / "episodes") if most is None or e.group < most]
    parts = in_batches(episodes, config.rollout.tasks)
    batches = [collated(part, policy, config) for part in parts]
    return Recording(place, config, policy, parts, batches, most is None, columns)


def in_batches(episodes: Sequence[Episode], groups: int) -> list[list[Episode]]:
    """The episodes, with `groups` groups in each batch."""
    found: dict[int, list[Episode]] = {}
    for episode in episodes:
        found.setdefault(episode.group // groups, []).append(episode)
    return list(found.values())


def collated(episodes: Sequence[Episode], policy: Policy, config: RunConfig) -> Batch:
    """A batch as training makes it."""
    return collate(
        episodes,
        policy.pad_id,
        **config.rollout.of_batch(),
    )
