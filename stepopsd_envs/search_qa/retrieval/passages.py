"""Passages on disk, addressed by number, for indexes that hold vectors but no texts."""

import json
import mmap
from array import array
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from stepopsd_envs.plain_file import plain_file
from stepopsd_envs.search_qa.retrieval.base import Passage

TEXTS, STARTS = "passages.jsonl", "passages.starts.npy"


class PassageStore:
    """The passages of a folder written by ``write_passages``, memory-mapped.

    ``store[number]`` raises IndexError for a number out of range.
    """

    def __init__(self, folder: Path) -> None:
        self._starts = np.load(folder / STARTS, mmap_mode="r", allow_pickle=False)
        with plain_file(folder / TEXTS).open("rb") as file:
            self._texts = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, number: int) -> Passage:
        if not 0 <= number < len(self):
            raise IndexError(f"there is no passage {number}; give a number from 0 to {len(self) - 1}")
        name, title, text = json.loads(self._texts[self._starts[number] : self._starts[number + 1]])
        return Passage(name, title, text)

    def close(self) -> None:
        """Close the file."""
        self._texts.close()


def write_passages(passages: Iterable[Passage], folder: Path) -> None:
    """Write passages in their order; the file of offsets is written last and marks the folder as complete."""
    starts = array("q", [0])
    with (folder / TEXTS).open("wb") as file:
        for passage in passages:
            line = json.dumps([passage.id, passage.title, passage.text]).encode("ascii") + b"\n"
            file.write(line)
            starts.append(starts[-1] + len(line))
    unfinished = folder / f"unfinished-{STARTS}"
    np.save(unfinished, np.frombuffer(starts, dtype=np.int64), allow_pickle=False)
    unfinished.replace(folder / STARTS)


def are_written(folder: Path) -> bool:
    """Whether ``write_passages`` was completed in this folder."""
    return (folder / STARTS).is_file()
