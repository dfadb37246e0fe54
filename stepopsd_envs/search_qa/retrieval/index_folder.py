"""The folder of an index: its manifest, which is written last, its lock, and the checks before a build."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stepopsd_envs.plain_file import plain_file
from stepopsd_envs.search_qa.corpus import CorpusFacts
from stepopsd_envs.search_qa.retrieval.errors import IndexFolderError

SCHEMA = "stepopsd.index/1"
MANIFEST, PLAN, LOCK = "manifest.json", "building.json", ".lock"
KINDS = ("bm25", "lucene", "dense", "hybrid")


@dataclass(frozen=True, slots=True)
class Manifest:
    """Description of an index.

    Attributes:
        kind: one of ``KINDS``.
        corpus: fingerprint and number of its passages.
        settings: all settings that can change a result, by name.
        files: size in bytes of each file, by path in the folder.
    """

    kind: str
    corpus: CorpusFacts
    settings: dict[str, Any] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)


def read_manifest(folder: Path, kind: str | None = None) -> Manifest:
    """Read the manifest of a complete index and check its files.

    Args:
        folder: folder of the index.
        kind: expected kind; None: any.

    Raises:
        IndexFolderError: the folder is not an index, or the index is half built, damaged or of another kind.
    """
    if not folder.is_dir():
        raise IndexFolderError(f"{folder} is no folder; build an index: stepopsd index CORPUS --out {folder}")
    if not (folder / MANIFEST).is_file():
        if (folder / PLAN).is_file():
            raise IndexFolderError(
                f"the index in {folder} is half built; run the same stepopsd index command again to finish it"
            )
        raise IndexFolderError(f"{folder} holds no index; build one: stepopsd index CORPUS --out {folder}")
    manifest = _parsed(folder / MANIFEST)
    if kind is not None and manifest.kind != kind:
        raise IndexFolderError(
            f"the index in {folder} is of kind {manifest.kind!r}, not {kind!r}; give its kind or another "
            "folder"
        )
    _require_files(folder, manifest)
    return manifest


def write_manifest(folder: Path, plan: Manifest) -> Manifest:
    """Mark an index as complete; the manifest lists all files that are in the folder now."""
    files = {name: size for name, size in sorted(_sizes(folder)) if name not in (MANIFEST, PLAN)}
    manifest = Manifest(plan.kind, plan.corpus, plan.settings, files)
    _write(folder / MANIFEST, manifest)
    (folder / PLAN).unlink(missing_ok=True)
    return manifest


def begin(folder: Path, plan: Manifest, parts: Sequence[str] = ()) -> Manifest | None:
    """Start or resume a build; return the manifest if the index is already complete, else None.

    Args:
        folder: an empty folder, or the folder of an earlier call.
        plan: the manifest without files.
        parts: names of subfolders that may exist already.

    Raises:
        IndexFolderError: the folder holds something else.
    """
    for name in (MANIFEST, PLAN):
        if not (folder / name).is_file():
            continue
        existing = _parsed(folder / name)
        difference = _difference(existing, plan)
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
    """Lock the folder against builds of other processes; the lock ends with this process.

    Raises:
        IndexFolderError: another process is building there, and ``wait`` is False.
    """
    import fcntl  # not on Windows, where Lucene and the server are not tested either

    with open(plain_file(folder / LOCK, missing_ok=True), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise IndexFolderError(
                f"another process is building the index in {folder}; let it finish, or stop it first"
            ) from error
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # closing is not enough: a process forked meanwhile has it open


def _parsed(path: Path) -> Manifest:
    try:
        value = json.loads(plain_file(path).read_bytes())
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


def _difference(existing: Manifest, plan: Manifest) -> str:
    """The difference between two indexes in words; empty if there is none."""
    if existing.kind != plan.kind:
        return f"its kind is {existing.kind!r}, not {plan.kind!r}"
    if existing.corpus != plan.corpus:
        passages, planned = existing.corpus.passages, plan.corpus.passages
        return f"it is of another corpus ({passages:,} passages, not {planned:,})"
    # The digest identifies the model; its location does not matter.
    names = sorted((existing.settings.keys() | plan.settings.keys()) - {"model"})
    differences = [
        f"{name} is {existing.settings.get(name)!r}, not {plan.settings.get(name)!r}"
        for name in names
        if existing.settings.get(name) != plan.settings.get(name)
    ]
    return ", ".join(differences)


def _sizes(folder: Path) -> Iterator[tuple[str, int]]:
    for root, _, names in os.walk(folder, followlinks=True):
        for name in sorted(set(names) - {LOCK}):
            path = Path(root, name)
            yield path.relative_to(folder).as_posix(), path.stat().st_size


def _require_files(folder: Path, manifest: Manifest) -> None:
    sizes = dict(_sizes(folder))
    wrong = [name for name, size in manifest.files.items() if sizes.get(name) != size]
    if wrong:
        state = "is missing" if wrong[0] not in sizes else "has another size than when it was written"
        raise IndexFolderError(
            f"the index in {folder} is damaged: {wrong[0]} {state}; delete the folder and build it again"
        )
