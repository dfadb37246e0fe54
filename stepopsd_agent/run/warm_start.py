"""A warm start: demonstrations of an expert are played and cloned, and the result is evaluated."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stepopsd_agent.config import RunConfig, config_to_dict
from stepopsd_agent.hindsight import hindsight_words
from stepopsd_agent.learner import Example, clone, examples
from stepopsd_agent.models import Policy, tiny_policy
from stepopsd_agent.rollout import (
    Demonstration,
    demonstrate,
    evaluate_policy,
    pieces,
    played_data,
    success_table,
)
from stepopsd_agent.run.display import progress
from stepopsd_agent.run.files import write_json_atomic
from stepopsd_agent.run.files.model_folder import save_model
from stepopsd_agent.run.provenance import environment_facts
from stepopsd_agent.tasks import (
    data_identity,
    evaluation_sets,
    evaluation_total,
    get,
    make_stack,
    side_by_side,
    task_ids,
)

NOTES = "warmstart.json"


@dataclass(frozen=True)
class Demonstrations:
    """Episodes of an expert, then of a novice on other tasks, and the data that they played."""

    expert: list[Demonstration]
    novice: list[Demonstration]
    data: dict[str, str]


def warmstart(config: RunConfig, policy: Policy | None, out: Path) -> dict[str, Any]:
    """Clone demonstrations into a policy, write it to ``out``, evaluate it and return its success table.

    Whatever ends the evaluation early leaves the model, with notes that lack "evaluation".

    Args:
        config: its sections env, warmstart, hindsight, model, rollout and eval.
        policy: what to train; None makes a fresh tiny model.
        out: model folder.

    Raises:
        ValueError: the environment has no expert, or the fresh model cannot be made as asked.
    """
    spec = get(config.env.id)
    played = play_demonstrations(config)
    if policy is None:
        texts = pieces(played.expert[:500]) + hindsight_words() * 50
        policy = tiny_policy(texts, config.model, config.device, config.seed, spec.names)
    losses = _clone(policy, played, config)
    notes = {
        "schema": "stepopsd.warmstart/1",
        "expert": success_table([d.episode for d in played.expert]),
        **({"novice": success_table([d.episode for d in played.novice])} if played.novice else {}),
        "loss": {"first": losses[0], "last": losses[-1]},
        **played.data,
        "config": config_to_dict(config),
        **environment_facts(),
    }
    save_model(policy, out, {NOTES: notes})
    slots = side_by_side(evaluation_sets(config), config.rollout.slots)
    with progress(evaluation_total(config), "evaluating", unit=spec.unit, at_once=slots) as bar:
        evaluated = evaluate_policy(policy, config, on_episode=lambda episode: bar.advance())
    table = success_table(evaluated, spec.measures)
    write_json_atomic(out / NOTES, {**notes, "evaluation": {**table, **played_data(evaluated)}})
    return table


def play_demonstrations(config: RunConfig) -> Demonstrations:
    """Episodes on tasks drawn from the seed."""
    settings = config.warmstart
    prefix = config.hindsight.position == "prefix"
    unit = get(config.env.id).unit
    with closing(make_stack(config.env)) as env:
        ids, count = task_ids(env), settings.demonstrations + settings.novice_demonstrations
        order = np.random.default_rng([config.seed, 1]).permutation(max(len(ids), count))[:count]
        chosen = [ids[i % len(ids)] for i in order]

        def play(
            who: str, first: int, last: int, mistake_rate: float, informed: float
        ) -> list[Demonstration]:
            with progress(last - first, f"playing the {who}", unit=unit) as bar:
                return demonstrate(
                    env,
                    chosen[first:last],
                    mistake_rate,
                    config.seed + first,
                    peers=not prefix,
                    informed_share=informed,
                    on_done=bar.advance,
                )

        informed = settings.hindsight_share if prefix else 0.0
        expert = play("expert", 0, settings.demonstrations, settings.mistake_rate, informed)
        novice = []
        if settings.novice_demonstrations:
            novice = play("novice", settings.demonstrations, count, settings.novice_mistake_rate, 0.0)
        return Demonstrations(expert, novice, data_identity(env))


def _clone(policy: Policy, played: Demonstrations, config: RunConfig) -> list[float]:
    """Fit the policy and return the loss of every optimizer step."""
    rng, settings = np.random.default_rng([config.seed, 2]), config.warmstart

    def rows(demonstrations: Sequence[Demonstration]) -> list[Example]:
        return [e for d in demonstrations for e in examples(d, policy, settings, config.hindsight, rng)]

    data, last = rows(played.expert), rows(played.novice)
    steps = -(-len(data) // settings.batch_rows) * settings.passes + -(-len(last) // settings.batch_rows)
    with progress(steps, "cloning", unit="update") as bar:
        return clone(
            policy,
            data,
            settings,
            config.seed,
            on_step=lambda step, loss: bar.advance(note=f"loss {loss:.3f}"),
            last=last,
        )
