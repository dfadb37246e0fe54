"""How many tokens a forward pass may hold: given, grown while memory allows, halved when it runs out."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch

START: dict[str, int] = {"cpu": 2048, "cuda": 8192}
"""Tokens that "auto" begins with. On CPU it stays there: larger passes leave the caches and are slower."""
FILL = 0.85
"""Share of a device's memory that "auto" plans to use."""
Tokens = int | Literal["auto"]
"""Tokens per pass as settings give them."""


class TokenBudget:
    """Tokens per pass on one device.

    Attributes:
        tokens: the budget now; a single row that is longer still goes alone.
        processed: tokens of the passes since `take`.
        halvings: how often memory ran out.
        peak: most bytes allocated on CUDA before the device's own count was last reset.
    """

    def __init__(self, tokens: Tokens, device: torch.device) -> None:
        """Take the number, or for "auto" the device's start, from where it grows on CUDA."""
        self.tokens = START[device.type] if tokens == "auto" else tokens
        self.device = device
        self.grows = tokens == "auto" and device.type == "cuda"
        self.processed = self.halvings = self.peak = 0

    @contextmanager
    def watch(self, tokens: int, *, settled: bool = True) -> Iterator[None]:
        """Adjust the budget by the memory that a pass over ``tokens`` tokens takes.

        Args:
            tokens: in the pass.
            settled: whether everything that stays in memory is there already; the budget is not adjusted
                before.
        """
        if self.grows:
            self.peak = max(self.peak, torch.cuda.max_memory_allocated(self.device))
            torch.cuda.reset_peak_memory_stats(self.device)
            before = torch.cuda.memory_allocated(self.device)
        yield
        self.processed += tokens
        if self.grows and settled:
            used = torch.cuda.max_memory_allocated(self.device) - before
            total = torch.cuda.get_device_properties(self.device).total_memory
            self.tokens = fitting(self.tokens, tokens, used, int(FILL * total) - before)

    def take(self) -> int:
        """Tokens processed since this was asked last."""
        taken, self.processed = self.processed, 0
        return taken

    def halve(self, error: RuntimeError, tokens: int, rows: int) -> None:
        """Halve the budget after a pass over ``tokens`` tokens in ``rows`` rows ran out of memory, and warn.

        Raises:
            RuntimeError: the error itself where memory is not the matter; or it was one row, which cannot be
                cut, and the message says what can be done.
        """
        if not out_of_memory(error):
            raise error
        if rows == 1:
            raise RuntimeError(
                f"one row of {tokens} tokens does not fit into the memory of {self.device}: set "
                "learner.gradient_checkpointing to true, lower rollout.max_row_tokens or "
                "hindsight.max_peer_tokens, or train an adapter (learner.lora.rank)"
            ) from error
        self.tokens, self.halvings, self.grows = max(1, tokens // 2), self.halvings + 1, False
        warnings.warn(
            f"out of memory on {self.device} with {tokens} tokens in {rows} rows; going on with at most "
            f"{self.tokens} tokens per pass",
            RuntimeWarning,
            stacklevel=2,
        )


def fitting(budget: int, tokens: int, used: int, room: int) -> int:
    """The next budget after a pass over ``tokens`` took ``used`` bytes where ``room`` are free.

    At most twice the present one, and only where the pass filled half of it: a small pass tells little.
    """
    if used <= 0 or 2 * tokens < budget:
        return budget
    return max(1, min(2 * budget, room * tokens // used))


def out_of_memory(error: RuntimeError) -> bool:
    """Whether the error says that memory ran out; on CPU PyTorch has no type for that."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def consecutive_parts(sizes: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Cut indices, in order, into parts whose sizes sum to at most ``budget`` (one at least): packed."""
    part: list[int] = []
    total = 0
    for i, size in enumerate(sizes):
        if part and total + size > budget:
            yield part
            part, total = [], 0
        part.append(i)
        total += size
    if part:
        yield part


def parts_by_length(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Cut indices, shortest first, so that rows x longest is at most ``budget`` (one at least): padded."""
    part: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if part and (len(part) + 1) * lengths[i] > budget:
            yield part
            part = []
        part.append(i)
    if part:
        yield part


def in_parts(
    budget: TokenBudget,
    sizes: Sequence[int],
    work: Callable[[list[int]], None],
    *,
    padded: bool = False,
    begin: Callable[[], None] = lambda: None,
    settled: bool = True,
) -> None:
    """Work through rows part by part; where memory runs out, all of them again in smaller parts.

    Args:
        budget: limits a part.
        sizes: tokens of each row.
        work: one pass over the rows with these numbers.
        padded: whether rows are padded to the longest of a part, or packed.
        begin: undoes what earlier parts did; called first, and after every lack of memory.
        settled: see `TokenBudget.watch`.
    """
    cut = parts_by_length if padded else consecutive_parts
    while True:
        begin()
        part, cost = list[int](), 0
        try:
            for part in cut(sizes, budget.tokens):
                cost = len(part) * max(sizes[i] for i in part) if padded else sum(sizes[i] for i in part)
                with budget.watch(cost, settled=settled):
                    work(part)
        except RuntimeError as error:
            budget.halve(error, cost, len(part))
        else:
            return
