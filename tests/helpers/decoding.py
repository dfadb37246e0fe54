"""Conversations of token ids with a decoder."""

from collections.abc import Callable, Sequence

import numpy as np

from stepopsd_agent.rollout import Sampled
from stepopsd_agent.rollout.backends import Rows


def converse(
    decoder: Rows, prompts: Sequence[Sequence[list[int]]], noise: Callable[[int, int], np.ndarray]
) -> list[list[Sampled]]:
    """The responses of every row to its prompts, each given as soon as the response before it is there.

    Args:
        decoder: with a fresh row for each conversation; rows whose conversation is over are dropped.
        prompts: of each row, turn by turn.
        noise: of a row's turn, from its number and the turn's.
    """
    found: list[list[Sampled]] = [[] for _ in prompts]
    rows = [row for row, turns in enumerate(prompts) if turns]
    while rows:
        given = [prompts[row][len(found[row])] for row in rows]
        uniforms = np.stack([noise(row, len(found[row])) for row in rows])
        for row, sampled in zip(rows, decoder.respond(given, uniforms), strict=True):
            if sampled is not None:
                found[row].append(sampled)
        going = [place for place, row in enumerate(rows) if len(found[row]) < len(prompts[row])]
        if len(going) < len(rows):
            decoder.keep(going)
            rows = [rows[place] for place in going]
    return found
