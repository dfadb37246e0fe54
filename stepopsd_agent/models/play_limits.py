"""How much a policy plays at once, which is halved where memory runs out; prompts that were shortened."""

import warnings
from dataclasses import dataclass

from stepopsd_agent.models.packed.token_budget import out_of_memory


@dataclass
class PlayLimits:
    """Limits of play on one device; they stay for the rest of the run.

    Attributes:
        tokens: new tokens, of all rows together, that one forward pass reads; halved where memory runs out.
        slots: most episodes side by side; None for as many as there are environments.
        shortened: prompts that had no room and lost history, so far.
    """

    tokens: int = 8192
    slots: int | None = None
    shortened: int = 0

    def halve_pass(self, error: RuntimeError, tokens: int, rows: int) -> None:
        """Halve the passes after one of so many tokens in so many rows ran out of memory, and warn.

        Raises:
            RuntimeError: the error itself where memory is not the matter, or a pass has one token a row.
        """
        if not out_of_memory(error) or tokens <= rows:
            raise error
        self.tokens = tokens // 2
        _warn(
            f"out of memory while {rows} prompts were read, {tokens} tokens at once; going on with "
            f"{self.tokens}"
        )

    def halve_slots(self, error: RuntimeError, slots: int) -> None:
        """Halve the episodes side by side after so many ran out of memory, and warn.

        Raises:
            RuntimeError: the error itself where memory is not the matter; or there was one episode, and the
                message says what can be done.
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
