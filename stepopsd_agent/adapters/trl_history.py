"""The history of tasks in the checkpoints of TRL's trainer, which knows nothing of it.

The hooks are `TrainerCallback.on_save` of transformers, called once a checkpoint is written, and the argument
`resume_from_checkpoint` of `Trainer.train`. Every process plays groups of its own, and so has a history and
a file of its own.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, get_last_checkpoint

from stepopsd_agent.learner import TaskHistory


def file_name(process: int, processes: int) -> str:
    """The file of a process in the folder of a checkpoint."""
    return f"stepopsd_history_{process}_of_{processes}.safetensors"


class SaveHistory(TrainerCallback):
    """Writes a history into every checkpoint."""

    def __init__(self, history: TaskHistory, name: str) -> None:
        """Take the history, and the file's name."""
        self._history, self._name = history, name

    def on_save(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        """Write it beside what transformers has written."""
        folder = Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        folder.mkdir(parents=True, exist_ok=True)
        new = folder / f"{self._name}.tmp"
        tensors = self._history.tensors()["history"]
        save_file(tensors, new, metadata={"state": json.dumps(self._history.state())})
        new.rename(folder / self._name)


def restore_history(history: TaskHistory, checkpoint: str | bool, out: str, name: str) -> None:
    """Continue with the history of a checkpoint.

    Args:
        history: gets it.
        checkpoint: `resume_from_checkpoint` of `Trainer.train`: a folder, or True for the last one.
        out: `output_dir` of the trainer, where the last one is looked for.
        name: of the file.

    Raises:
        ValueError: the checkpoint has no history of this process, or one for another credit method.
    """
    folder = get_last_checkpoint(out) if checkpoint is True else str(checkpoint)  # type: ignore[no-untyped-call]
    if folder is None:
        return  # transformers says so
    path = Path(folder) / name
    if not path.is_file():
        raise ValueError(
            f"{folder} has no {name}, and the credit method reads what earlier updates played: resume a "
            "checkpoint that StepCredit wrote, with the same number of processes, or begin anew"
        )
    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}
        state = json.loads(file.metadata()["state"])
    try:
        history.restore({"history": tensors}, state)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
