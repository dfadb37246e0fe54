"""How much episodes repeat themselves: metrics that one of the alarms reads."""

from collections.abc import Hashable, Iterable, Sequence

from stepopsd_wrappers import Episode

NGRAM = 4
"""Length of the sequences of tokens that are compared."""


def repetition_metrics(episodes: Sequence[Episode]) -> dict[str, float]:
    """How much episodes repeat themselves.

    - "signal/repeated_steps": share of steps with the same action on the same observation as earlier in the
      episode.
    - "signal/repeated_ngrams": share of sequences of four tokens that stood earlier in the same response.
    """
    steps, ngrams = [], []
    for episode in episodes:
        pairs = zip(episode.steps, episode.steps[1:], strict=False)
        steps.append([(before.observation, step.action) for before, step in pairs])
        for step in episode.steps[1:]:
            ids = step.tokens.sampled_ids if step.tokens is not None else ()
            ngrams.append([ids[k : k + NGRAM] for k in range(len(ids) - NGRAM + 1)])
    return {"signal/repeated_steps": _repeated(steps), "signal/repeated_ngrams": _repeated(ngrams)}


def _repeated(series: Iterable[Sequence[Hashable]]) -> float:
    """The share of members that stood before in the same series, over all series."""
    sizes = [(len(ngrams), len(set(ngrams))) for ngrams in series]
    return 1 - sum(new for _, new in sizes) / total if (total := sum(n for n, _ in sizes)) else 0.0
