"""The policy: a causal language model with its tokenizer and prompt format.

A causal language model of transformers with full attention in every layer works, see `loading`, or the tiny
Qwen3-shaped model of `tiny`. `self_check` finds out about others.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from stepopsd_agent.config import LoraConfig
from stepopsd_agent.models.lora import add_adapter, merged_weights, switched_off
from stepopsd_agent.models.packed.attention import RowCache
from stepopsd_agent.models.packed.logprobs import HALF, wide_logits
from stepopsd_agent.models.play_limits import PlayLimits
from stepopsd_agent.models.prompt_format import PromptFormat, make_format
from stepopsd_agent.models.scoring import ScoringModel
from stepopsd_wrappers import Episode


class ModelFolderError(ValueError):
    """A model could not be loaded; the message names the folder and the next action."""


def check_policy(policy: object) -> None:
    """Refuse what is no policy, such as the name of a folder.

    Raises:
        TypeError: it is of another kind.
    """
    if not isinstance(policy, Policy):
        raise TypeError(
            f"policy is {policy!r:.60}, of type {type(policy).__name__}; give a Policy, such as "
            f"load_policy(FOLDER) or Policy(model, tokenizer)"
        )


class Policy(ScoringModel):
    """A causal language model with its tokenizer.

    Attributes:
        model: the network, on ``device``.
        tokenizer: its tokenizer.
        prompt_format: how prompts become token ids.
        device: where tensors go.
        adapted: whether an adapter is trained instead of the model.
        play: how much is played at once.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        device: str = "cpu",
        prompt_format: PromptFormat | None = None,
    ) -> None:
        """Wrap a loaded model and tokenizer and move the model to ``device``.

        Without a ``prompt_format`` the tokenizer's chat template is used where it has one.
        """
        super().__init__(model, device)
        self.tokenizer = tokenizer
        self.prompt_format = make_format(tokenizer) if prompt_format is None else prompt_format
        self.adapted, self.play = False, PlayLimits()

    @property
    def pad_id(self) -> int:
        """The id used for padding; padding is always masked, so any valid id does."""
        ids = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0)
        return next(int(i) for i in ids if i is not None)

    @property
    def stop_ids(self) -> frozenset[int]:
        """Ids at which sampling stops: the format's end, and the end tokens of tokenizer and model."""
        configured = self.model.generation_config.eos_token_id
        ids = configured if isinstance(configured, list) else [configured]
        ends = [self.prompt_format.end_id, self.tokenizer.eos_token_id, *ids]
        return frozenset(int(i) for i in ends if i is not None)

    @property
    def max_positions(self) -> int:
        """The longest sequence the model was made for, in tokens."""
        return int(self.model.config.max_position_embeddings)

    def room_beside(self, episode: Episode) -> int:
        """Tokens that a block may have so that no step behind it lies beyond the model's positions."""
        longest = length = 0
        for tokens in (step.tokens for step in episode.steps if step.tokens is not None):
            length = (0 if tokens.new_row else length) + len(tokens.prompt_ids) + len(tokens.sampled_ids)
            longest = max(longest, length)
        return self.max_positions - longest

    def next_logits(self, new: Mapping[int, Sequence[int]], cache: RowCache) -> Tensor:
        """[rows, V] float32 logits (float64 from a float64 model) after the new ids of some of the rows.

        The cache then holds the ids; where this fails it is as it was.
        """
        head = self.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        return wide_logits(head, cache.read(self.model.base_model, new))

    def padded_logits(self, ids: Tensor, positions: Tensor, mask: Tensor, cache: DynamicCache) -> Tensor:
        """Extend the cache by padded rows and return the logits after the last position.

        Args:
            ids: [B, Q] new tokens.
            positions: [B, Q] their positions.
            mask: [B, 1, Q, K] True where a query may look at a key (cached keys first).
            cache: holds K - Q keys; grown in place.

        Returns:
            [B, V] float32 logits (float64 from a float64 model).
        """
        if self.model.dtype in HALF:
            head = self.model.get_output_embeddings()  # type: ignore[no-untyped-call]
            return wide_logits(head, self.read(ids, positions, mask, cache))
        out = self.model(
            input_ids=ids, position_ids=positions, attention_mask=self._attention_bias(mask),
            past_key_values=cache, use_cache=True, logits_to_keep=1,
        )  # fmt: skip
        logits: Tensor = out.logits[:, -1]
        return logits

    def read(self, ids: Tensor, positions: Tensor, mask: Tensor, cache: DynamicCache) -> Tensor:
        """Extend the cache as `padded_logits` does; return the states [B, D] of the last position."""
        states: Tensor = self.model.base_model(
            input_ids=ids, position_ids=positions, attention_mask=self._attention_bias(mask),
            past_key_values=cache, use_cache=True,
        ).last_hidden_state  # fmt: skip
        return states[:, -1]

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text; one that spells a control token does not become it."""
        return self.prompt_format.text_ids(texts)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of sampled ids, special tokens left out."""
        return str(
            self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )

    def add_adapter(self, config: LoraConfig, seed: int) -> None:
        """Train a low-rank adapter from now on; the model itself stays as it is, see `models.lora`."""
        add_adapter(self.model, config, seed)
        self.adapted = True

    def _weights(self) -> dict[str, torch.nn.Parameter]:
        """The trained parameters, which copies of the weights hold: the model's, or its adapter's alone."""
        named = self.model.named_parameters()
        return {name: p for name, p in named if p.requires_grad or not self.adapted}

    def state(self) -> dict[str, Tensor]:
        """A detached CPU copy of the weights, tied tensors once; of the adapter alone where there is one."""
        return {name: p.detach().cpu().clone() for name, p in self._weights().items()}

    def origin(self) -> dict[str, Tensor]:
        """The weights before any update, for `weights`; with an adapter nothing, as it is switched off."""
        return {} if self.adapted else self.state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Copy weights in; names and shapes must match."""
        parameters = self._fitting(state)
        with torch.no_grad():
            for name, p in parameters.items():
                p.copy_(state[name])

    def _fitting(self, state: dict[str, Tensor]) -> dict[str, torch.nn.Parameter]:
        """The trained parameters, whose names and shapes are those of the weights."""
        parameters = self._weights()
        differing = parameters.keys() ^ state.keys() or {
            n for n, p in parameters.items() if p.shape != state[n].shape
        }
        if differing:
            raise ModelFolderError(
                f"weights do not fit the model: differing names or shapes {sorted(differing)[:4]}"
            )
        return parameters

    @contextmanager
    def weights(self, state: dict[str, Tensor]) -> Iterator[None]:
        """Score with other weights of the same network for a while, then go back to the current ones.

        The parameters point to the others meanwhile; the current ones stay where they are, uncopied. On
        another device than the others' that takes one transfer of these. No weights at all stand for the
        model without its adapter.
        """
        if self.adapted and not state:
            with switched_off(self.model):
                yield
            return
        parameters = self._fitting(state)
        current = {name: p.data for name, p in parameters.items()}
        try:
            for name, p in parameters.items():
                p.data = state[name].to(p.device, p.dtype)
            yield
        finally:
            for name, p in parameters.items():
                p.data = current[name]

    def save(self, folder: Path) -> None:
        """Write model and tokenizer as a folder that ``load_policy`` and transformers read (safetensors).

        An adapter is merged into the model that is written.
        """
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self.model.save_pretrained(folder, state_dict=merged_weights(self.model) if self.adapted else None)
        self.tokenizer.save_pretrained(folder)
