"""The language model behind the agent: load, tokenise, score.

Only this file, `scoring` and `attention` touch transformers. Any causal language model works: a local folder,
a hub name, a GGUF file inside a folder, or the tiny Qwen3-shaped model this project makes for CPU runs.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DynamicCache,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.cache_utils import DynamicLayer
from transformers.utils import logging as transformers_logging

from stepopsd_agent.config.run import LoraConfig, ModelConfig
from stepopsd_agent.models.lora import add_adapter, merged_weights, switched_off
from stepopsd_agent.models.scoring import ScoringModel
from stepopsd_agent.models.tiny_tokenizer import END, FindNames, numbered, train_tokenizer


class ModelFolderError(ValueError):
    """A model could not be loaded; the message names the folder and the next action."""


class Policy(ScoringModel):
    """A causal language model with its tokenizer.

    Attributes:
        model: the network, on ``device``.
        tokenizer: its tokenizer.
        device: where tensors go.
        adapted: whether an adapter is trained instead of the model.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, device: str = "cpu"
    ) -> None:
        """Wrap a loaded model and tokenizer and move the model to ``device``."""
        super().__init__(model, device)
        self.tokenizer = tokenizer
        self.adapted = False

    @property
    def pad_id(self) -> int:
        """The id used for padding; padding is always masked, so any valid id does."""
        ids = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0)
        return next(int(i) for i in ids if i is not None)

    @property
    def stop_ids(self) -> frozenset[int]:
        """Ids that end a response: the tokenizer's and the generation configuration's end tokens."""
        configured = self.model.generation_config.eos_token_id
        ids = configured if isinstance(configured, list) else [configured]
        return frozenset(int(i) for i in [self.tokenizer.eos_token_id, *ids] if i is not None)

    @property
    def max_positions(self) -> int:
        """The longest sequence the model was made for, in tokens."""
        return int(self.model.config.max_position_embeddings)

    def new_cache(self) -> DynamicCache:
        """An empty key-value cache."""
        return DynamicCache()

    def reorder_keys(self, cache: DynamicCache, order: Tensor) -> None:
        """Keep the cached keys at ``order`` [B, K'] of each row, in that order.

        Raises:
            ModelFolderError: the model forgets old keys by itself (sliding windows, recurrent states), so
                that its
                cache cannot be laid out anew.
        """
        for layer in cache.layers:
            if type(layer) is not DynamicLayer or layer.keys is None or layer.values is None:
                raise ModelFolderError(
                    f"{type(layer).__name__}: only models with full attention in every layer can act here; "
                    "choose one such as Qwen3 or Llama"
                )
            index = order[:, None, :, None]
            layer.keys = layer.keys.gather(2, index.expand(-1, layer.keys.shape[1], -1, layer.keys.shape[3]))
            layer.values = layer.values.gather(
                2, index.expand(-1, layer.values.shape[1], -1, layer.values.shape[3])
            )

    def next_logits(self, ids: Tensor, positions: Tensor, mask: Tensor, cache: DynamicCache) -> Tensor:
        """Extend the cache and return the logits after the last position.

        Args:
            ids: [B, Q] new tokens.
            positions: [B, Q] their positions.
            mask: [B, 1, Q, K] True where a query may look at a key (cached keys first).
            cache: holds K - Q keys; grown in place.

        Returns:
            [B, V] float32 logits (float64 from a float64 model).
        """
        out = self.model(
            input_ids=ids, position_ids=positions, attention_mask=self._attention_bias(mask),
            past_key_values=cache, use_cache=True, logits_to_keep=1,
        )  # fmt: skip
        logits: Tensor = out.logits[:, -1]
        return logits if logits.dtype == torch.float64 else logits.float()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens added."""
        ids = self.tokenizer(
            [t.encode("utf-8", "replace").decode() for t in texts], add_special_tokens=False
        )["input_ids"]
        return [list(row) for row in ids]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of sampled ids, special tokens left out."""
        return str(
            self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )

    def add_adapter(self, config: LoraConfig, seed: int) -> None:
        """Train a low-rank adapter from now on, the model itself staying as it is; see `adapter`."""
        add_adapter(self.model, config, seed)
        self.adapted = True

    def _weights(self) -> dict[str, torch.nn.Parameter]:
        """What is trained, and so what copies of the weights hold: the model, or its adapter alone."""
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
        own = self._weights()
        if own.keys() != state.keys():
            raise ModelFolderError(
                f"weights do not fit the model: differing names {sorted(own.keys() ^ state.keys())[:4]}"
            )
        with torch.no_grad():
            for name, p in own.items():
                p.copy_(state[name])

    @contextmanager
    def weights(self, state: dict[str, Tensor]) -> Iterator[None]:
        """Score with other weights of the same network for a while, then put the current ones back.

        No weights at all stand for the model without its adapter.
        """
        if self.adapted and not state:
            with switched_off(self.model):
                yield
            return
        current = self.state()
        self.load_state(state)
        try:
            yield
        finally:
            self.load_state(current)

    def save(self, folder: Path) -> None:
        """Write model and tokenizer as a folder that ``load_policy`` and transformers read (safetensors).

        An adapter is merged into the model that is written.
        """
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self.model.save_pretrained(folder, state_dict=merged_weights(self.model) if self.adapted else None)
        self.tokenizer.save_pretrained(folder)


def load_policy(config: ModelConfig, device: str) -> Policy:
    """Load a model from a local folder, a hub name, or a GGUF file in a folder.

    Raises:
        ModelFolderError: the model or its tokenizer is missing or unreadable.
    """
    path = os.path.expanduser(config.path)
    gguf = {"gguf_file": config.gguf_file} if config.gguf_file else {}
    if os.path.isdir(path) and not config.gguf_file and not any(Path(path).glob("tokenizer*")):
        raise ModelFolderError(
            f"{path}: no tokenizer in this model folder; expected tokenizer.json beside config.json. "
            "Save it there with tokenizer.save_pretrained(folder), or give another --model.path"
        )
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # it would tear ours
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, **gguf)
        model = AutoModelForCausalLM.from_pretrained(path, dtype=weight_type(config, device), **gguf)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise ModelFolderError(
            f"{path}: not a loadable causal language model ({(str(error) or repr(error)).splitlines()[0]}). "
            "--model.path takes a folder with config.json, safetensors and tokenizer files, or a hub name; "
            "`stepopsd warmstart` makes such a folder"
        ) from error
    if config.gguf_file:
        # The weights are plain now, yet transformers goes on taking the model for a quantised one and would
        # refuse to save it.
        model.hf_quantizer = None  # type: ignore[assignment]
        del model.config.quantization_config
    return Policy(model, tokenizer, device)


def tiny_policy(
    texts: Sequence[str], config: ModelConfig, device: str, seed: int, names: FindNames = numbered
) -> Policy:
    """A fresh Qwen3-shaped model, weights from ``seed``, and a tokenizer learned from ``texts``."""
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=train_tokenizer(texts, config.vocab_size, names),
        eos_token=END,
        pad_token=END,
        clean_up_tokenization_spaces=False,
    )
    assert tokenizer.eos_token_id is not None  # given just now
    with torch.random.fork_rng(devices=[]):  # initial weights from the seed, the caller's generator untouched
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(tiny_shape(config, len(tokenizer), int(tokenizer.eos_token_id)))
    _attend_to_equal_tokens(model)
    torch.nn.Module.to(model, weight_type(config, device))  # transformers hides the types of its own `to`
    return Policy(model, tokenizer, device)


def tiny_shape(config: ModelConfig, vocabulary: int, end: int) -> Qwen3Config:
    """What the fresh model is made from; `end` ends responses and pads."""
    return Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=config.hidden_size,
        intermediate_size=3 * config.hidden_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        num_key_value_heads=max(1, config.num_heads // 2),
        head_dim=config.head_dim,
        max_position_embeddings=config.max_positions,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},  # slow turns: names match from afar
        tie_word_embeddings=True,
        eos_token_id=end,
        pad_token_id=end,
        bos_token_id=None,
    )


def _attend_to_equal_tokens(model: Qwen3ForCausalLM) -> None:
    """Begin where some heads look for the token they stand on, which the tasks need: a goal found in a list.

    One query head per key head starts as that key head (mimetic initialisation, Trockman and Kolter 2023,
    without its value part), and larger norms make the first attention sharp enough to pick one token of
    hundreds. Training changes all of it.
    """
    with torch.no_grad():
        for layer in model.model.layers:
            attention = layer.self_attn
            size = attention.head_dim
            keys = attention.k_proj.weight.unflatten(0, (-1, size))  # (key heads, size, D)
            attention.q_proj.weight.unflatten(0, (len(keys), -1, size))[:, 0].copy_(keys)
            attention.q_norm.weight.fill_(1.6)
            attention.k_norm.weight.fill_(1.6)


def weight_type(config: ModelConfig, device: str) -> torch.dtype:
    """The type of the weights."""
    if config.dtype == "auto":
        return torch.bfloat16 if device.startswith("cuda") else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}[config.dtype]
