"""What an index folder is: its manifest, which comes last, and what is refused before and without it."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stepopsd_envs.search_qa.corpus import CorpusFacts
from stepopsd_envs.search_qa.retrieval.errors import IndexFolderError

SCHEMA = "stepopsd.index/1"
MANIFEST, PLAN, LOCK = "manifest.json", "building.json", ".lock"
KINDS = ("bm25", "lucene", "dense", "hybrid")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an index is.

    Attributes:
        kind: one of ``KINDS``.
        corpus: the passages in it.
        settings: of its making, by name; all that can change an answer.
        files: sizes in bytes by path in the folder.
    """

    kind: str
    corpus: CorpusFacts
    settings: dict[str, Any] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)


def read_manifest(folder: Path, kind: str | None = None) -> Manifest:
    """The manifest of a complete index.

    Args:
        folder: of the index.
        kind: what it has to be; None takes any.

    Raises:
        IndexFolderError: it is none, half built, damaged or of another kind.
    """
    if not folder.is_dir():
        raise IndexFolderError(f"{folder} is no folder; build one with: stepopsd index CORPUS --out {folder}")
    if not (folder / MANIFEST).is_file():
        if (folder / PLAN).is_file():
            raise IndexFolderError(
                f"the index in {folder} is half built; run the same stepopsd index command again to finish it"
            )
        raise IndexFolderError(f"{folder} holds no index; make one: stepopsd index CORPUS --out {folder}")
    manifest = _parsed(folder / MANIFEST)
    if kind is not None and manifest.kind != kind:
        raise IndexFolderError(f"the index in {folder} is of kind {manifest.kind!r}, not {kind!r}")
    _require_files(folder, manifest)
    return manifest


def write_manifest(folder: Path, plan: Manifest) -> Manifest:
    """Declare an index complete: its files are what is in the folder now."""
    files = {name: size for name, size in sorted(_sizes(folder)) if name not in (MANIFEST, PLAN)}
    manifest = Manifest(plan.kind, plan.corpus, plan.settings, files)
    _write(folder / MANIFEST, manifest)
    (folder / PLAN).unlink(missing_ok=True)
    return manifest


def begin(folder: Path, plan: Manifest, parts: Sequence[str] = ()) -> Manifest | None:
    """Begin or continue to build; the manifest where the index is there already.

    Args:
        folder: an empty one, or what an earlier call began.
        plan: the manifest without files.
        parts: folders that may be there from before.

    Raises:
        IndexFolderError: the folder holds something else.
    """
    for name in (MANIFEST, PLAN):
        if not (folder / name).is_file():
            continue
        there = _parsed(folder / name)
        difference = _difference(there, plan)
        if difference:
            state = "holds another index" if name == MANIFEST else "holds a half-built index"
            raise IndexFolderError(
                f"{folder} {state}: {difference}. Give another --out, or delete the folder"
            )
        return read_manifest(folder) if name == MANIFEST else None
    if any(path.name not in (LOCK, *parts) for path in folder.iterdir()):
        raise IndexFolderError(f"{folder} is not empty and holds no index; give another --out")
    _write(folder / PLAN, plan)
    return None


@contextmanager
def locked(folder: Path, wait: bool) -> Iterator[None]:
    """Keep other processes from building in this folder; the lock ends with the process that holds it.

    Raises:
        IndexFolderError: another process builds there, and it is not to be waited for.
    """
    import fcntl  # not on Windows, where Lucene and the server are not tried either

    with open(folder / LOCK, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise IndexFolderError(
                f"another process is building the index in {folder}; let it finish, or stop it first"
            ) from error
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # a process forked meanwhile has the file open, too


def _parsed(path: Path) -> Manifest:
    try:
        value = json.loads(path.read_bytes())
        if value["schema"] != SCHEMA:
            raise IndexFolderError(f"{path} has schema {value['schema']!r}, not {SCHEMA!r}; build it again")
        corpus = CorpusFacts(str(value["corpus"]["fingerprint"]), int(value["corpus"]["passages"]))
        return Manifest(str(value["kind"]), corpus, dict(value["settings"]), dict(value["files"]))
    except (OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, IndexFolderError):
            raise
        raise IndexFolderError(f"{path} is damaged ({error!r:.100}); build the index again") from error


def _write(path: Path, manifest: Manifest) -> None:
    text = json.dumps({"schema": SCHEMA, **asdict(manifest)}, indent=2, sort_keys=True) + "\n"
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _difference(there: Manifest, plan: Manifest) -> str:
    """What sets two indexes apart, in words; empty for none."""
    if there.kind != plan.kind:
        return f"its kind is {there.kind!r}, not {plan.kind!r}"
    if there.corpus != plan.corpus:
        return f"it is of another corpus ({there.corpus.passages:,} passages, not {plan.corpus.passages:,})"
    # The digest says which model it is; where that lies does not matter.
    names = sorted((there.settings.keys() | plan.settings.keys()) - {"model"})
    found = [
        f"{name} is {there.settings.get(name)!r}, not {plan.settings.get(name)!r}"
        for name in names
        if there.settings.get(name) != plan.settings.get(name)
    ]
    return ", ".join(found)


def _sizes(folder: Path) -> Iterator[tuple[str, int]]:
    for root, _, names in os.walk(folder, followlinks=True):
        for name in sorted(set(names) - {LOCK}):
            path = Path(root, name)
            yield path.relative_to(folder).as_posix(), path.stat().st_size


def _require_files(folder: Path, manifest: Manifest) -> None:
    there = dict(_sizes(folder))
    wrong = [name for name, size in manifest.files.items() if there.get(name) != size]
    if wrong:
        state = "is missing" if wrong[0] not in there else "has another size than when it was written"
        raise IndexFolderError(
            f"the index in {folder} is damaged: {wrong[0]} {state}; delete the folder and build it again"
        )
