"""What tells early that a run goes wrong: pure measures of one update's batch, credit and episodes."""

from collections.abc import Hashable, Iterable, Sequence

import torch
from torch import Tensor

from stepopsd_agent import ops
from stepopsd_agent.batch import KINDS, Batch
from stepopsd_agent.segment import span_mask
from stepopsd_wrappers import Episode

NGRAM = 4


def batch_signals(batch: Batch, advantages: Tensor) -> dict[str, float]:
    """Gaps by kind of token, where there is a teacher, and the entropy of credit over steps."""
    gaps = {f"signal/gap_{kind}": value for kind, value in teacher_gaps(batch).items()}
    return {**gaps, "signal/credit_entropy": credit_entropy(batch, advantages)}


def teacher_gaps(batch: Batch) -> dict[str, float]:
    """Mean |log p_teacher - log p_student| (nats) of each kind of token that occurs.

    Kinds are those of steps (act, search, answer, invalid) for the tokens of their actions, and "thought" for
    what else a step sampled.
    """
    teacher, student = batch.tokens.teacher_logprobs, batch.tokens.student_logprobs
    if teacher is None or student is None:
        return {}
    located = batch.steps.action_start is not None and batch.steps.action_end is not None
    action = span_mask(batch, "action" if located else "turn")
    kind = batch.steps.kind[batch.tokens.step_of_token.clamp(min=0)]
    masks = {name: action & (kind == number) for number, name in enumerate(KINDS)}
    masks["thought"] = batch.action_mask & ~action
    gap = (teacher - student).abs()
    return {name: float(ops.masked_mean(gap, mask)) for name, mask in masks.items() if bool(mask.any())}


def credit_entropy(batch: Batch, advantages: Tensor) -> float:
    """How evenly credit lies on steps: H(p) / log(steps), p a step's share of its episode's sum of |A|.

    Mean over the episodes with credit and at least two steps: 1 where all steps of each have the same, 0
    where one has all; 1 without such an episode.
    """
    chosen, episode = batch.action_mask, batch.steps.episode_of_step
    weight = advantages.new_zeros(batch.num_steps).index_add(
        0, batch.tokens.step_of_token[chosen], advantages.abs()[chosen]
    )
    total = weight.new_zeros(batch.num_episodes).index_add(0, episode, weight)
    count = ops.group_count(episode, batch.num_episodes)
    share = weight / total[episode].clamp(min=torch.finfo(weight.dtype).tiny)
    entropy = weight.new_zeros(batch.num_episodes).index_add(0, episode, torch.special.entr(share))
    counted = (total > 0) & (count > 1)
    if not bool(counted.any()):
        return 1.0
    return float((entropy[counted] / count[counted].log()).mean())


def repetition(episodes: Sequence[Episode]) -> dict[str, float]:
    """Shares of what episodes have had before.

    - "signal/repeated_steps": of steps, an action given in sight of the same observation as earlier in the
      episode.
    - "signal/repeated_ngrams": of four tokens in a row, those earlier in the same response.
    """
    steps, ngrams = [], []
    for episode in episodes:
        pairs = zip(episode.steps, episode.steps[1:], strict=False)
        steps.append([(seen.observation, done.action) for seen, done in pairs])
        for step in episode.steps[1:]:
            ids = step.tokens.sampled_ids if step.tokens is not None else ()
            ngrams.append([ids[k : k + NGRAM] for k in range(len(ids) - NGRAM + 1)])
    return {"signal/repeated_steps": _repeated(steps), "signal/repeated_ngrams": _repeated(ngrams)}


def _repeated(series: Iterable[Sequence[Hashable]]) -> float:
    """Of the members of all series the share that stood before in the same one."""
    sizes = [(len(one), len(set(one))) for one in series]
    return 1 - sum(new for _, new in sizes) / total if (total := sum(n for n, _ in sizes)) else 0.0
