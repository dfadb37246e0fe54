"""What tells early that a run goes wrong: pure measures of one update's batch and episodes."""

from collections.abc import Hashable, Iterable, Sequence

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.batch.spans import kind_masks
from stepopsd_wrappers import Episode

NGRAM = 4


def teacher_gaps(batch: Batch) -> dict[str, float]:
    """Mean |log p_teacher - log p_student| (nats) of each kind of token there is; none without a teacher."""
    teacher, student = batch.tokens.teacher_logprobs, batch.tokens.student_logprobs
    if teacher is None or student is None:
        return {}
    gap = (teacher - student).abs()
    return {
        f"signal/gap_{kind}": float(ops.masked_mean(gap, mask)) for kind, mask in kind_masks(batch).items()
    }


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
