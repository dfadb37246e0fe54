"""The policy: a causal language model with its tokenizer and prompt format.

A causal language model of transformers with full attention in every layer works: a local folder, a hub name,
a GGUF file inside a folder, or the tiny Qwen3-shaped model of `tiny`. `self_check` finds out about others.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    DynamicCache,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.cache_utils import DynamicLayer
from transformers.utils import logging as transformers_logging

from stepopsd_agent.config import Chat, Dtype, LoraConfig
from stepopsd_agent.models.lora import add_adapter, merged_weights, switched_off
from stepopsd_agent.models.packed.logprobs import HALF, wide_logits
from stepopsd_agent.models.play_limits import PlayLimits
from stepopsd_agent.models.prompt_format import PromptFormat, make_format
from stepopsd_agent.models.scoring import ScoringModel


class ModelFolderError(ValueError):
    """A model could not be loaded; the message names the folder and the next action."""


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

    def new_cache(self) -> DynamicCache:
        """An empty key-value cache."""
        return DynamicCache()

    def reorder_keys(self, cache: DynamicCache, order: Tensor) -> None:
        """Keep the cached keys at ``order`` [B, K'] of each row, in that order.

        Raises:
            ModelFolderError: the model forgets old keys by itself (sliding windows, recurrent states), so
                that its cache cannot be rearranged.
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
        """Extend the cache as `next_logits` does; return the states [B, D] of the last position."""
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
        own = self._fitting(state)
        with torch.no_grad():
            for name, p in own.items():
                p.copy_(state[name])

    def _fitting(self, state: dict[str, Tensor]) -> dict[str, torch.nn.Parameter]:
        """The trained parameters, whose names and shapes are those of the weights."""
        own = self._weights()
        differing = own.keys() ^ state.keys() or {n for n, p in own.items() if p.shape != state[n].shape}
        if differing:
            raise ModelFolderError(
                f"weights do not fit the model: differing names or shapes {sorted(differing)[:4]}"
            )
        return own

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
        own = self._fitting(state)
        current = {name: p.data for name, p in own.items()}
        try:
            for name, p in own.items():
                p.data = state[name].to(p.device, p.dtype)
            yield
        finally:
            for name, p in own.items():
                p.data = current[name]

    def save(self, folder: Path) -> None:
        """Write model and tokenizer as a folder that ``load_policy`` and transformers read (safetensors).

        An adapter is merged into the model that is written.
        """
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self.model.save_pretrained(folder, state_dict=merged_weights(self.model) if self.adapted else None)
        self.tokenizer.save_pretrained(folder)


def load_policy(
    path: str | os.PathLike[str],
    *,
    device: str = "cpu",
    dtype: Dtype = "auto",
    gguf_file: str | None = None,
    chat: Chat = "auto",
    system: str = "",
    enable_thinking: bool = False,
    checked: bool = True,
) -> Policy:
    """Load a model from a local folder, a hub name, or a GGUF file in a folder.

    Args:
        path: a folder with config.json, safetensors and tokenizer files, or a hub name.
        device: "cpu", "cuda" or "cuda:N".
        dtype: of the weights; "auto" is float32 on CPU and bfloat16 on CUDA.
        gguf_file: name of a GGUF file inside ``path``.
        chat: use the tokenizer's chat template: "auto" where it has one, "on" or "off".
        system: system message of chats; "" for none. ``tasks.get(env_id).system`` has one for each
            environment.
        enable_thinking: passed to templates that know it (Qwen3).
        checked: refuse a model that fails a check of `self_check`, which costs four short forward passes.

    Raises:
        ModelFolderError: the model or its tokenizer is missing or unreadable, or fails a check.
        ValueError: ``chat`` is "on" and the tokenizer has no chat template.
    """
    path = os.path.expanduser(path)
    _check_folder(path, gguf_file)
    gguf = {"gguf_file": gguf_file} if gguf_file else {}
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # it would tear ours
    # Imported here, since it needs the class above.
    from stepopsd_agent.models.self_check import model_problems, window_problems

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, **gguf)
        if checked and not gguf_file:  # before weights are fetched and read
            _refuse(path, window_problems(AutoConfig.from_pretrained(path)))
        model = AutoModelForCausalLM.from_pretrained(path, dtype=weight_type(dtype, device), **gguf)
    except ModelFolderError:
        raise
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise ModelFolderError(
            f"{path}: not a loadable causal language model ({(str(error) or repr(error)).splitlines()[0]}). "
            "--model.path takes a folder with config.json, safetensors and tokenizer files, or a hub name; "
            "`stepopsd warmstart` makes such a folder"
        ) from error
    if gguf_file:
        # The weights are plain now, yet transformers goes on taking the model for a quantised one and would
        # refuse to save it.
        model.hf_quantizer = None  # type: ignore[assignment]
        del model.config.quantization_config
    policy = Policy(model, tokenizer, device, make_format(tokenizer, chat, system, enable_thinking))
    if checked:
        _refuse(path, [problem for problems in model_problems(policy).values() for problem in problems])
    return policy


def _check_folder(path: str, gguf_file: str | None) -> None:
    """Refuse a folder that is not there or has no tokenizer, before the hub is asked."""
    if not os.path.isdir(path) and _names_a_folder(path):
        raise ModelFolderError(
            f"{path}: there is no such folder. --model.path takes a folder with config.json, safetensors and "
            "tokenizer files, or a hub name like Qwen/Qwen3-1.7B; `stepopsd warmstart` makes such a folder"
        )
    if os.path.isdir(path) and not gguf_file and not any(Path(path).glob("tokenizer*")):
        raise ModelFolderError(
            f"{path}: no tokenizer in this model folder; expected tokenizer.json beside config.json. "
            "Save it there with tokenizer.save_pretrained(folder), or give another --model.path"
        )


def _refuse(path: str, problems: Sequence[str]) -> None:
    """Raise for the first two problems of a model, where it has any."""
    if problems:
        more = f". All {len(problems)}: stepopsd check-model {path}" if len(problems) > 2 else ""
        raise ModelFolderError(f"{path}: {'. And '.join(problems[:2])}{more}")


def _names_a_folder(path: str) -> bool:
    """Whether this is no name on the hub: those are NAME or OWNER/NAME, and are looked up for a minute."""
    owner, *names = path.split(os.sep)
    return owner in ("", ".", "..") or len(names) > 1 or (bool(names) and os.path.isdir(owner))


def weight_type(dtype: Dtype, device: str) -> torch.dtype:
    """The torch type of the weights on a device."""
    if dtype == "auto":
        return torch.bfloat16 if device.startswith("cuda") else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}[dtype]
