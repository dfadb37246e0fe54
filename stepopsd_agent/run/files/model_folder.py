"""Writing a model folder so that a kill at any moment leaves none, or one that loads."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from stepopsd_agent.models import ModelFolderError, Policy
from stepopsd_agent.run.files.atomic import naming, sync_folder, write_json_atomic


def save_model(policy: Policy, folder: Path, notes: Mapping[str, Any] | None = None) -> None:
    """Write model and tokenizer to ``folder``, which appears as a whole.

    In a folder that is there already each file is replaced by itself: a kill in between leaves weights of two
    moments at worst, as a run that is continued does not read them again.

    Args:
        policy: what to write.
        folder: a folder for this model alone; made if absent.
        notes: JSON files to put beside the model, by name.

    Raises:
        ModelFolderError: the weights cannot be written.
        OSError: another file cannot be written.
    """
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        with naming(folder):
            unfinished.mkdir(parents=True)
            policy.save(unfinished)
            for name, content in (notes or {}).items():
                write_json_atomic(unfinished / name, content)
            _publish(unfinished, folder)
    except SafetensorError as error:
        raise ModelFolderError(
            f"{folder}: cannot write the weights ({error}); make room there, then go on"
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _publish(unfinished: Path, folder: Path) -> None:
    """Force all files to disk, then give them their final names."""
    for path in unfinished.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    if folder.exists():
        for path in unfinished.iterdir():
            path.replace(folder / path.name)
    else:
        unfinished.rename(folder)
    sync_folder(folder.parent)
