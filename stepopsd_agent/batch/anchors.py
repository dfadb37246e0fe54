"""Anchors: which steps acted on the same observation, or on one so alike that it counts as the same.

The exact anchor is the environment's own hash of the observation. Texts that hardly ever repeat word for
word, such as search results, are put in clusters of similar texts instead, as the code of GiGPO
(arXiv 2505.10978) does.
"""

from collections.abc import Sequence
from difflib import SequenceMatcher


def similar_anchors(texts: Sequence[str], groups: Sequence[int], similarity: float) -> list[int]:
    """A number for every text, equal for texts of one group that belong to one cluster.

    A text joins the first cluster of its group, in the order in which they began, whose first text it
    resembles; else it begins one. Likeness is the ratio of `difflib.SequenceMatcher`: twice the characters in
    matching blocks over all characters of both.

    Args:
        texts: one per step, in the order of the batch.
        groups: of every text; texts of different groups are never in one cluster.
        similarity: least likeness within a cluster, above 0 and at most 1.
    """
    if not 0 < similarity <= 1:
        raise ValueError(f"similarity is {similarity}; it must lie above 0 and be at most 1")
    begun: dict[int, list[tuple[int, SequenceMatcher[str]]]] = {}
    known: dict[tuple[int, str], int] = {}
    for group, text in zip(groups, texts, strict=True):
        if (group, text) in known:
            continue
        clusters = begun.setdefault(group, [])
        number = next((n for n, first in clusters if _alike(text, first, similarity)), None)
        if number is None:
            number = sum(map(len, begun.values()))
            clusters.append((number, SequenceMatcher(None, "", text)))
        known[group, text] = number
    return [known[key] for key in zip(groups, texts, strict=True)]


def _alike(text: str, first: SequenceMatcher[str], similarity: float) -> bool:
    """Whether the ratio is high enough; two quick upper bounds of it spare most of the work."""
    first.set_seq1(text)
    bounds = (first.real_quick_ratio, first.quick_ratio, first.ratio)
    return all(bound() >= similarity for bound in bounds)
