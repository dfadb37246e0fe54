"""Tokens per pass: given, growing, halved."""

from types import SimpleNamespace

import pytest
import torch

from stepopsd_agent.models.packed import START, TokenBudget, in_parts
from stepopsd_agent.models.packed.token_budget import fitting, out_of_memory, parts_by_length

CPU = torch.device("cpu")


def test_auto_budget_on_cpu_is_the_stated_default() -> None:
    """It does not grow there; a number is taken as it is."""
    budget = TokenBudget("auto", CPU)
    assert budget.tokens == START["cpu"] and not budget.grows
    assert TokenBudget(77, CPU).tokens == 77


@pytest.mark.parametrize(
    ("tokens", "used", "room", "expected"),
    [
        (1000, 1000, 10_000, 2000),  # a token takes a byte and ten times as many fit: twice as many
        (1000, 1000, 1500, 1500),  # what fits
        (1000, 1000, 600, 600),  # less than now
        (499, 499, 10_000, 1000),  # a small pass tells little
        (1000, 0, 10_000, 1000),  # nor does one that took nothing
    ],
)
def test_fitting_goes_by_the_memory_of_the_last_pass(
    tokens: int, used: int, room: int, expected: int
) -> None:
    """A budget of 1000 tokens so far."""
    assert fitting(1000, tokens, used, room) == expected


def test_auto_budget_on_cuda_grows_until_a_pass_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """2 MiB a token beside 10 GiB of weights on a card of 80: 0.85 of it leaves room for 29,696 tokens."""
    weights, token, card = 10 * 2**30, 2 * 2**20, 80 * 2**30
    peak = [weights]
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: weights)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: peak[0])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: peak.__setitem__(0, weights))
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=card)
    )
    budget = TokenBudget("auto", torch.device("cuda"))
    found = []
    for _ in range(4):
        found.append(budget.tokens)
        with budget.watch(budget.tokens):
            peak[0] = weights + token * budget.tokens
    assert found == [8192, 16384, 29_696, 29_696]


def test_halving_says_what_happened() -> None:
    """To half of what failed, in so many words."""
    budget = TokenBudget(1000, CPU)
    with pytest.warns(RuntimeWarning, match="out of memory on cpu with 600 tokens in 3 rows.*at most 300"):
        budget.halve(torch.OutOfMemoryError(), 600, 3)
    assert (budget.tokens, budget.halvings) == (300, 1)


def test_a_single_row_cannot_be_halved() -> None:
    """The error tells what can be done."""
    with pytest.raises(
        RuntimeError, match=r"one row of 600 tokens does.*: set learner.gradient_checkpointing to true"
    ):
        TokenBudget(1000, CPU).halve(torch.OutOfMemoryError(), 600, 1)


def test_other_errors_go_through() -> None:
    """A bug is not a lack of memory."""
    assert out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    error = RuntimeError("shapes")
    with pytest.raises(RuntimeError, match="shapes"):
        TokenBudget(1000, CPU).halve(error, 600, 3)


def test_parts_by_length_cover_all_rows_within_budget() -> None:
    """Every index once; a part of more than one row stays within the budget."""
    lengths = [5, 90, 13, 40, 41, 2, 90]
    parts = list(parts_by_length(lengths, 100))
    assert sorted(i for part in parts for i in part) == list(range(len(lengths)))
    assert all(len(part) == 1 or len(part) * max(lengths[i] for i in part) <= 100 for part in parts)


@pytest.mark.parametrize("padded", [False, True])
def test_in_parts_begins_again_where_memory_runs_out(padded: bool) -> None:
    """Passes above 20 tokens fail; in the end every row is done once."""
    done: list[int] = []
    sizes = [3, 9, 4, 9, 8, 2]

    def work(part: list[int]) -> None:
        cost = len(part) * max(sizes[i] for i in part) if padded else sum(sizes[i] for i in part)
        if cost > 20:
            raise torch.OutOfMemoryError
        done.extend(part)

    budget = TokenBudget(30, CPU)
    with pytest.warns(RuntimeWarning, match="going on with at most"):
        in_parts(budget, sizes, work, padded=padded, begin=done.clear)
    assert sorted(done) == list(range(6)) and budget.halvings >= 1
    assert budget.take() >= sum(sizes) and budget.take() == 0
