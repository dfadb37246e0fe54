"""Checkpoints: folders of safetensors and JSON, never pickle, complete or not there.

A checkpoint is written under a temporary name, forced to disk and renamed, so a kill at any moment leaves the
one before it. `state.json` holds the SHA-256 of every file and of itself, which tells a damaged checkpoint.

    checkpoints/checkpoint-000020/state.json  model.safetensors  optimizer.safetensors  ...

The number is that of the updates done. One more after as many updates, as where the first is damaged or the
run was evaluated once more, is written beside it, as `checkpoint-000020-2`, and is the newer one.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from stepopsd_agent.run.files.atomic import sync_folder
from stepopsd_agent.run.files.errors import CheckpointError
from stepopsd_envs.plain_file import plain_file

SCHEMA = "stepopsd.checkpoint/1"
Tensors = dict[str, dict[str, Tensor]]

_STATE = "state.json"
_NAME = "checkpoint-"
_NUMBERED = re.compile(r"checkpoint-([0-9]{6,})(?:-([1-9][0-9]*))?")
_UNFINISHED = ".unfinished-"  # begins the names of folders being written or removed


def save_checkpoint(
    folder: Path | str,
    *,
    update: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    keep: int = 2,
) -> Path:
    """Write a checkpoint, then remove those of more updates, and all but `keep` with it.

    Args:
        folder: Where checkpoints live; made if absent.
        update: Updates done, which names it.
        tensors: File name without suffix, to named tensors. Names may share a tensor (tied weights).
        state: What JSON gives back unchanged (floats are exact; tuples, NaN and keys that are no strings are
            refused). A numpy generator's state (`rng.bit_generator.state`) fits as it is; a torch generator's
            is a tensor.
        keep: Checkpoints left after this one is written.

    Returns:
        The checkpoint's folder.

    Raises:
        CheckpointError: When it cannot be written; checkpoints before it are untouched.
        ValueError: When `state` does not fit, or `update` or `keep` is too small.
    """
    _check_state(state)
    if update < 0:
        raise ValueError(f"got update={update}; give the number of updates done, 0 before the first")
    if keep < 1:
        raise ValueError(f"got keep={keep}; at least the checkpoint just written stays: use keep=1 or more")
    folder = Path(folder)
    path = _free(folder, update)
    unfinished = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=folder))
        _write(unfinished, tensors, state)
        unfinished.rename(path)
        sync_folder(folder)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot write checkpoint {path}: {error}. Checkpoints before it are untouched: make room there, "
            "then resume the run"
        ) from error
    finally:
        if unfinished is not None:
            shutil.rmtree(unfinished, ignore_errors=True)
    _prune(folder, keep, path)
    return path


def latest_checkpoint(folder: Path | str) -> Path | None:
    """Return the newest whole checkpoint in `folder`, that of most updates, or None where none was written.

    A damaged one is left out with a warning.

    Raises:
        CheckpointError: There are checkpoints, and all are damaged: to begin again would lose what they hold.
    """
    damaged: list[CheckpointError] = []
    for path in reversed(_checkpoints(Path(folder))):
        try:
            _read_state(path)
        except CheckpointError as error:
            damaged.append(error)
            continue
        for problem in damaged:
            warnings.warn(f"{problem} Taking {path.name}.", RuntimeWarning, stacklevel=2)
        return path
    if damaged:
        raise CheckpointError(
            f"no checkpoint in {folder} is whole: {' '.join(map(str, damaged))} If none can be restored, "
            "begin a new run in another folder"
        )
    return None


def load_checkpoint(path: Path | str) -> tuple[Tensors, dict[str, Any]]:
    """Read a checkpoint back: `(tensors, state)` as they were given, on the CPU.

    Raises:
        CheckpointError: When a file is missing or its content is not what was written.
    """
    path = Path(path)
    content = _read_state(path)
    tensors: Tensors = {}
    for name, shared in content["shared"].items():
        tensors[name] = load_file(path / f"{name}.safetensors")
        for alias, original in shared.items():
            tensors[name][alias] = tensors[name][original]
    return tensors, content["state"]


def checkpoint_digest(path: Path) -> str:
    """The digest of a checkpoint that was read: equal only where every file and number in it is."""
    claimed: str = json.loads(plain_file(path / _STATE).read_text(encoding="utf-8"))["sha256"]
    return claimed


def _check_state(state: Mapping[str, Any]) -> None:
    """Refuse what JSON would not give back unchanged."""
    for key, value in state.items():
        if json.loads(json.dumps(value, allow_nan=False)) != value:
            raise ValueError(
                f"state[{key!r}] would change on its way through JSON; use lists for tuples, strings for keys"
            )


def _number(path: Path) -> tuple[int, int] | None:
    """Updates done, and which checkpoint after as many it is, from 1; None for a name that is not ours."""
    match = _NUMBERED.fullmatch(path.name)
    return (int(match[1]), int(match[2] or 1)) if match else None


def _checkpoints(folder: Path) -> list[Path]:
    """All checkpoints by name, oldest first, whole or not; whatever has another name is not ours."""
    found = ((_number(path), path) for path in folder.glob(f"{_NAME}*") if path.is_dir())
    return [path for number, path in sorted((n, path) for n, path in found if n is not None)]


def _free(folder: Path, update: int) -> Path:
    """Name for a checkpoint: none is written over, as a kill between two renames would lose both."""
    numbers = [number for number in map(_number, _checkpoints(folder)) if number and number[0] == update]
    again = f"-{numbers[-1][1] + 1}" if numbers else ""
    return folder / f"{_NAME}{update:06d}{again}"


def _write(folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
    """Write all files of a checkpoint and force them to disk."""
    content: dict[str, Any] = {"schema": SCHEMA, "state": state, "files": {}, "shared": {}}
    for name, group in tensors.items():
        file = folder / f"{name}.safetensors"
        unshared, shared = _without_sharing(group)
        save_file(unshared, file)
        _sync(file)
        content["files"][file.name] = _sha256(file)
        content["shared"][name] = shared
    text = json.dumps({**content, "sha256": _digest(content)}, indent=1, sort_keys=True, allow_nan=False)
    (folder / _STATE).write_text(text + "\n", encoding="utf-8")
    _sync(folder / _STATE)
    sync_folder(folder)


def _without_sharing(group: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Split names into tensors that own their memory, and aliases: safetensors refuses shared memory."""
    tensors: dict[str, Tensor] = {}
    shared: dict[str, str] = {}
    seen: dict[tuple[object, ...], str] = {}
    for name, tensor in group.items():
        identity = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if tensor.numel() and identity in seen:
            shared[name] = seen[identity]
            continue
        seen[identity] = name
        plain = tensor.detach().cpu().contiguous()
        # A view into larger memory may overlap another one; a copy of it does not.
        tensors[name] = plain if plain.untyped_storage().nbytes() == plain.nbytes else plain.clone()
    return tensors, shared


def _read_state(path: Path) -> dict[str, Any]:
    """Read state.json after comparing every digest in it."""

    def damaged(what: str) -> CheckpointError:
        return CheckpointError(
            f"checkpoint {path} is damaged: {what}; restore it, or go on from the one before it."
        )

    try:
        content: dict[str, Any] = json.loads(plain_file(path / _STATE).read_text(encoding="utf-8"))
        claimed = content.pop("sha256")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise damaged(f"{_STATE} cannot be read ({error})") from error
    if _digest(content) != claimed:
        raise damaged(f"{_STATE} is not what was written")
    if content["schema"] != SCHEMA:
        raise CheckpointError(
            f"checkpoint {path} has schema {content['schema']!r}; this version reads {SCHEMA!r}."
        )
    for name, digest in content["files"].items():
        file = path / name
        if not file.is_file():
            raise damaged(f"{name} is missing")
        if _sha256(file) != digest:
            raise damaged(f"{name} is not what was written")
    return content


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _leftovers(folder: Path) -> Iterator[Path]:
    """Folders that a killed process was writing or removing."""
    yield from folder.glob(f"{_UNFINISHED}*")


def _prune(folder: Path, keep: int, written: Path) -> None:
    """Remove checkpoints beyond the newest `keep`, and what killed processes left behind.

    The one just written is the newest. Those above it were damaged when a run went on from before them; were
    one of them restored later, the run would go on from there without the rows that were cut off.
    """
    there = _checkpoints(folder)
    newest = there.index(written) + 1
    for path in [*there[: max(0, newest - keep)], *there[newest:]]:
        # Renamed first: a checkpoint half removed must not look like one.
        path.rename(folder / f"{_UNFINISHED}{path.name}")
    for path in _leftovers(folder):
        shutil.rmtree(path, ignore_errors=True)
