"""A causal language model that scores: states and log-probabilities of tokens in their contexts."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from stepopsd_agent.config.run import Attention
from stepopsd_agent.models.packed.attention import NAME, pack_states
from stepopsd_agent.models.packed.logprobs import Reader, read_out, sampled
from stepopsd_agent.models.packed.packing import Pack

Way = Literal["segments", "flex", "padded"]
"""How rows go through the model at once; see `LearnerConfig.attention`."""


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

    def attention(self, asked: Attention) -> Way:
        """How to attend on this device: what is asked for, or its faster way."""
        if asked != "auto":
            return asked
        return "flex" if self.device.type == "cuda" else "segments"

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

    def read_out(self, hidden: Tensor, reader: Reader, temperature: float) -> tuple[Tensor, ...]:
        """What ``reader`` keeps of the next-token log-probabilities at states [M, D]; see `output_layer`."""
        head = self.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        return read_out(head, hidden, reader, temperature=temperature)

    def _attention_bias(self, mask: Tensor) -> Tensor:
        """Boolean mask to the additive form every attention back end of transformers accepts."""
        dtype = self.model.dtype
        return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(
            ~mask, torch.finfo(dtype).min
        )

    @contextmanager
    def recomputed_layers(self, on: bool) -> Iterator[None]:
        """Let the backward pass compute each layer again, not keep what the forward one made."""
        if not on:
            yield
            return
        layers = [m for m in self.model.modules() if isinstance(m, GradientCheckpointingLayer)]
        if not layers:
            name = type(self.model).__name__
            raise ValueError(f"{name} cannot recompute layers; set learner.gradient_checkpointing to false")
        for layer in layers:
            layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)  # type: ignore[assignment]
            layer.gradient_checkpointing = True
            layer.training = True  # of the layer alone, not of what is in it: dropout stays off
        try:
            yield
        finally:
            for layer in layers:
                layer.gradient_checkpointing = layer.training = False
