"""Limits of a policy's play, halved when memory runs out, and the count of shortened prompts."""

import warnings
from dataclasses import dataclass

from stepopsd_agent.models.packed.token_budget import out_of_memory


@dataclass
class PlayLimits:
    """Limits of play on one device; once lowered, they stay so for the rest of the run.

    Attributes:
        tokens: most new tokens, over all rows, in one forward pass; halved when memory runs out.
        slots: most episodes played in parallel; None for one per environment.
        shortened: number of prompts so far that were too long and lost history.
    """

    tokens: int = 8192
    slots: int | None = None
    shortened: int = 0

    def halve_pass(self, error: RuntimeError, tokens: int, rows: int) -> None:
        """Halve `tokens` after a pass of this size ran out of memory, and warn.

        Raises:
            RuntimeError: `error`, if it is about something else or the pass had one token per row.
        """
        if not out_of_memory(error) or tokens <= rows:
            raise error
        self.tokens = tokens // 2
        _warn(
            f"out of memory while {rows} prompts were read, {tokens} tokens at once; going on with "
            f"{self.tokens}"
        )

    def halve_slots(self, error: RuntimeError, slots: int) -> None:
        """Halve `slots` after this many parallel episodes ran out of memory, and warn.

        Raises:
            RuntimeError: `error`, if it is about something else; or one episode alone does not fit, and the
                message says what to change.
        """
        if not out_of_memory(error):
            raise error
        if slots == 1:
            raise RuntimeError(
                "one episode does not fit into memory: lower rollout.max_row_tokens, or set env.layout to "
                "window, whose rows are shorter"
            ) from error
        self.slots = slots // 2
        _warn(
            f"out of memory with {slots} episodes side by side; those that were running begin again, "
            f"{self.slots} at a time"
        )


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=4)
