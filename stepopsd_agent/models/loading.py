"""Loading a policy: from a model folder, a hub name, or a GGUF file inside a folder."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PretrainedConfig
from transformers.utils import logging as transformers_logging

from stepopsd_agent.config import Chat, Dtype
from stepopsd_agent.models.hub import hub_problem
from stepopsd_agent.models.policy import ModelFolderError, Policy
from stepopsd_agent.models.prompt_format import make_format
from stepopsd_agent.models.self_check import model_problems, window_problems
from stepopsd_envs.user_path import typed


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
        ValueError: ``path`` is no path or empty, or ``chat`` is "on" and the tokenizer has no chat template.
    """
    if not isinstance(cast("object", path), str | os.PathLike) or not os.fspath(path):
        raise ValueError(f"path is {path!r:.60}; give the name of a model folder, or of a model on the hub")
    path = os.path.expanduser(path)
    _check_folder(path, gguf_file)
    gguf = {"gguf_file": gguf_file} if gguf_file else {}
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # it would tear ours
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, **gguf)
        if checked and not gguf_file:  # before weights are fetched and read
            check_configuration(path, AutoConfig.from_pretrained(path))
        model = AutoModelForCausalLM.from_pretrained(path, dtype=weight_type(dtype, device), **gguf)
    except ModelFolderError:
        raise
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise ModelFolderError(
            f"{path}: not a loadable causal language model ({(str(error) or repr(error)).splitlines()[0]}). "
            "Give a folder with config.json, safetensors and tokenizer files, or a hub name; "
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
    if path == "tiny" and not os.path.isdir(path):
        raise ModelFolderError(
            "tiny names a fresh model that knows no commands, and no folder or hub name; make one that does "
            "with: stepopsd warmstart --out FOLDER, then give FOLDER"
        )
    if not os.path.isdir(path) and _names_a_folder(path):
        raise ModelFolderError(
            f"{path}: there is no such folder. Give a folder with config.json, safetensors and tokenizer "
            "files, or a hub name like Qwen/Qwen3-1.7B; `stepopsd warmstart` makes such a folder"
        )
    if not os.path.isdir(path) and (problem := hub_problem(path, gguf_file)):
        raise ModelFolderError(
            f"{path}: there is no such folder, and as a hub name it cannot be fetched: {problem}. Give a "
            "folder with config.json, safetensors and tokenizer files, or try again with the hub in reach; "
            "`stepopsd warmstart` makes such a folder"
        )
    inner = Path(path) / "model"
    if not gguf_file and not (Path(path) / "config.json").exists() and (inner / "config.json").is_file():
        raise ModelFolderError(f"{path}: the folder of a run; its model is {inner}")
    if os.path.isdir(path) and not gguf_file and not any(Path(path).glob("tokenizer*")):
        raise ModelFolderError(
            f"{path}: no tokenizer in this model folder; expected tokenizer.json beside config.json. "
            "Save it there with tokenizer.save_pretrained(folder), or give another model"
        )


def check_configuration(path: str, configuration: PretrainedConfig) -> None:
    """Refuse a model whose configuration says that it cannot be trained: no weights are read.

    Raises:
        ModelFolderError: its layers do not have full attention, or its longest row is unknown.
    """
    _refuse(path, window_problems(configuration))


def _refuse(path: str, problems: Sequence[str]) -> None:
    """Raise for the first two problems of a model, where it has any."""
    if problems:
        more = f". All {len(problems)}: stepopsd check-model {typed(path)}" if len(problems) > 2 else ""
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
