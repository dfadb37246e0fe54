"""Log-probabilities of given tokens in their contexts: the model's side, and a `Scorer` with its settings.

A scorer reads prefix trees (see `packed.packing`): what contexts share is computed once, and the numbers
are those of one forward pass per context.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from stepopsd_agent.config import Attention, check_kind
from stepopsd_agent.models.packed.attention import NAME, pack_states
from stepopsd_agent.models.packed.logprobs import LogprobReader, read_out, sampled
from stepopsd_agent.models.packed.packing import Pack, Tree, pack_trees, pad_trees, split_tree
from stepopsd_agent.models.packed.token_budget import (
    TokenBudget,
    Tokens,
    consecutive_parts,
    parts_by_length,
)

AttentionBackend = Literal["segments", "flex", "padded"]
"""How several rows go through the model at once; see `LearnerConfig.attention`."""
Scores = tuple[Tensor, ...]
"""The tensors that a `LogprobReader` keeps for the scored tokens of one tree."""


class ScoringModel:
    """A causal language model on a device.

    Attributes:
        model: the network, on ``device``.
        device: where tensors go.
    """

    def __init__(self, model: PreTrainedModel, device: str = "cpu") -> None:
        """Move the model to the device and let it attend over packs."""
        self.device = torch.device(device)
        torch.nn.Module.to(model, self.device)  # transformers hides the types of its own `to`
        model.train(False)
        model.set_attn_implementation(NAME)
        self.model = model

    def attention(self, asked: Attention) -> AttentionBackend:
        """The attention backend to use: the one asked for; for "auto" the fastest of device and model."""
        if asked != "auto":
            return asked
        if not self.takes_packs:
            return "padded"
        return "flex" if self.device.type == "cuda" else "segments"

    @cached_property
    def takes_packs(self) -> bool:
        """Whether the layers attend over packs; what transformers says of its models is not always so."""
        device = next(self.model.parameters()).device
        pack = pack_trees([Tree((0, 0), scored=(1,))], device)
        try:
            with torch.inference_mode():
                pack_states(self.model.base_model, pack, "segments")
        except ValueError:  # of `pack_states`, or of a layer that gets another mask than it expects
            return False
        return True

    def token_logprobs(
        self,
        ids: Tensor,
        select: Tensor,
        *,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Log-probabilities (nats) of the selected tokens of padded rows given what stands before them.

        Args:
            ids: [N, T] right-padded rows.
            select: [N, T] True at the tokens to score; column 0 cannot be scored.
            positions: [N, T] position of each token; column index when absent.
            mask: [N, T, T] True where query i may look at key j; causal when absent, and padding on the
                right is then harmless.
            temperature: the logits are divided by it, as in sampling.

        Returns:
            [N, T] float32 (float64 from a float64 model), zero where ``select`` is False.
        """
        hidden = self.hidden(ids, select, positions=positions, mask=mask)
        (picked,) = self.read_out(hidden, sampled(ids[select]), temperature)
        return torch.zeros(ids.shape, dtype=picked.dtype, device=ids.device).masked_scatter(select, picked)

    def hidden(
        self, ids: Tensor, select: Tensor, *, positions: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """[M, D] states from which the selected tokens of padded rows are predicted; see `token_logprobs`."""
        if bool(select[:, 0].any()):
            raise ValueError("the first token of a row has nothing before it; select later tokens to score")
        bias = None if mask is None else self._attention_bias(mask[:, None])
        states: Tensor = self.model.base_model(
            input_ids=ids, position_ids=positions, attention_mask=bias, use_cache=False
        ).last_hidden_state  # (N, T, D)
        return states[:, :-1][select[:, 1:]]

    def packed_hidden(self, pack: Pack, how: Literal["segments", "flex"]) -> Tensor:
        """[M, D] states from which the selected tokens of a pack are predicted."""
        states = pack_states(self.model.base_model, pack, how)
        return states[:, :-1][pack.select[:, 1:]]

    def read_out(self, hidden: Tensor, reader: LogprobReader, temperature: float) -> tuple[Tensor, ...]:
        """Apply ``reader`` to the next-token log-probabilities at states [M, D]; see `packed.logprobs`."""
        head = self.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        return read_out(head, hidden, reader, temperature=temperature)

    def _attention_bias(self, mask: Tensor) -> Tensor:
        """Boolean mask to the additive form every attention back end of transformers accepts."""
        dtype = self.model.dtype
        return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(
            ~mask, torch.finfo(dtype).min
        )

    def recomputed_layers(self, on: bool) -> AbstractContextManager[None]:
        """Let the backward pass compute each layer again, not keep what the forward one made."""
        return recomputed_layers(self.model, on)


@contextmanager
def recomputed_layers(network: torch.nn.Module, on: bool) -> Iterator[None]:
    """Let the backward pass through a network of transformers compute each layer again for a while.

    Raises:
        ValueError: it has no layers that can be computed again.
    """
    if not on:
        yield
        return
    layers = [m for m in network.modules() if isinstance(m, GradientCheckpointingLayer)]
    if not layers:
        name = type(network).__name__
        raise ValueError(f"{name} cannot recompute layers; set learner.gradient_checkpointing to false")
    for layer in layers:
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)  # type: ignore[assignment]
        layer.gradient_checkpointing = True
        layer.training = True  # the layer's own flag, not its children's: dropout stays off
    try:
        yield
    finally:
        for layer in layers:
            layer.gradient_checkpointing = layer.training = False


@dataclass(frozen=True)
class _Part:
    """Some branches of a tree, from number ``first`` on, with the trunk as far as they need it."""

    number: int
    first: int
    tree: Tree

    def within(self, budget: int) -> list["_Part"]:
        """The same as several parts of at most ``budget`` tokens."""
        out: list[_Part] = []
        first = self.first
        for tree in split_tree(self.tree, budget):
            out.append(_Part(self.number, first, tree))
            first += len(tree.branches)
        return out


class Scorer:
    """A model with the settings of scoring: passes of which size, which temperature, which attention.

    Attributes:
        model: holds the weights; `Policy.weights` swaps them for a while.
        budget: tokens per forward pass; changes memory and time, not results.
        temperature: divides the logits, as in sampling.
        backend: how rows attend, see `LearnerConfig.attention`.
    """

    def __init__(
        self,
        model: ScoringModel,
        *,
        tokens_per_pass: Tokens = "auto",
        temperature: float = 1.0,
        attention: Attention = "auto",
    ) -> None:
        """Make a scorer; "auto" chooses by the model's device.

        Args:
            model: whose log-probabilities are wanted.
            tokens_per_pass: at least 1, or "auto".
            temperature: above 0.
            attention: one of `AttentionBackend`, or "auto".

        Raises:
            ValueError: a setting has another value.
        """
        check_kind("temperature", temperature, float)
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature!r}; it must be a number above 0, as in sampling")
        tokens: Any = tokens_per_pass  # callers of their own may give anything
        if tokens != "auto" and (not isinstance(tokens, int) or tokens < 1):
            raise ValueError(f"tokens_per_pass is {tokens_per_pass!r}; it must be at least 1, or 'auto'")
        if attention not in ("auto", *get_args(AttentionBackend)):
            allowed = ", ".join(("auto", *get_args(AttentionBackend)))
            raise ValueError(f"attention is {attention!r}; it must be one of {allowed}")
        self.model, self.temperature = model, temperature
        self.budget = TokenBudget(tokens_per_pass, model.device)
        self.backend = model.attention(attention)

    def read(self, trees: Sequence[Tree], reader: Callable[[Tensor], LogprobReader]) -> list[Scores]:
        """Apply a reader at each tree's scored tokens: the trunk's in order, then the branches'.

        Args:
            trees: contexts. A branch's first target is predicted from the block's last token, so it needs a
                block. A tree larger than the budget is cut and its trunk repeated.
            reader: made from the ids of the scored tokens, see `packed.logprobs`.

        Returns:
            For each tree the reader's tensors, on the model's device.

        Raises:
            ValueError: a branch has no block.
            RuntimeError: a single row does not fit into memory.
        """
        if any(not b.block for t in trees for b in t.branches):
            raise ValueError("a branch needs a block; a step without hindsight is scored on the trunk")
        cut = parts_by_length if self.backend == "padded" else consecutive_parts
        scores: list[dict[int, Scores]] = [{} for _ in trees]
        left = [_Part(n, 0, tree) for n, tree in enumerate(trees)]
        while left:
            left = [small for part in left for small in part.within(self.budget.tokens)]
            sizes = [len(part.tree) for part in left]
            chosen = next(cut(sizes, self.budget.tokens))
            some = [left[i].tree for i in chosen]
            padded = len(some) * max(map(len, some))
            cost = padded if self.backend == "padded" else sum(map(len, some))
            try:
                with torch.inference_mode(), self.budget.watch(cost):
                    read = self._forward(some, reader)
            except RuntimeError as error:
                self.budget.halve(error, cost, max(len(some), len(some[0].branches)))
                continue
            for i, part_scores in zip(chosen, read, strict=True):
                scores[left[i].number][left[i].first] = part_scores
            done = set(chosen)
            left = [part for i, part in enumerate(left) if i not in done]
        return [_joined(parts) for parts in scores]

    def logprobs(self, trees: Sequence[Tree]) -> list[tuple[Tensor, list[Tensor]]]:
        """Log-probabilities (nats) of the scored trunk columns, ascending, and of each branch's target.

        Returns:
            For each tree ([scored], [[target] per branch]) on CPU; float32, or float64 from a float64 model.
        """
        out = []
        for tree, (logprobs,) in zip(trees, self.read(trees, sampled), strict=True):
            sizes = [len(tree.scored), *(len(b.target) for b in tree.branches)]
            trunk, *targets = torch.split(logprobs.cpu(), sizes)
            out.append((trunk, targets))
        return out

    def _forward(self, trees: Sequence[Tree], reader: Callable[[Tensor], LogprobReader]) -> list[Scores]:
        """One forward pass."""
        model = self.model
        if self.backend == "padded":
            rows = pad_trees(trees, 0, model.device)
            hidden = model.hidden(rows.ids, rows.select, positions=rows.positions, mask=rows.mask)
            ids = rows.ids[rows.select]
        else:
            pack = pack_trees(trees, model.device)
            hidden, ids = model.packed_hidden(pack, self.backend), pack.ids[pack.select]
        columns = model.read_out(hidden, reader(ids), self.temperature)
        sizes = [len(t.scored) + sum(len(b.target) for b in t.branches) for t in trees]
        return list(zip(*(torch.split(column, sizes) for column in columns), strict=True))


def _joined(parts: dict[int, Scores]) -> Scores:
    """The scores of a tree's parts in the order of its branches."""
    return tuple(map(torch.cat, zip(*(parts[first] for first in sorted(parts)), strict=True)))
