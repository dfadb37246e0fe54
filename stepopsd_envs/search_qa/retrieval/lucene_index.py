"""Build a Lucene index of a corpus with Anserini's indexer, in a separate Java process."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from stepopsd_envs.search_qa.corpus import contents
from stepopsd_envs.search_qa.retrieval.base import Passage
from stepopsd_envs.search_qa.retrieval.errors import IndexingError
from stepopsd_envs.search_qa.retrieval.java import find_jar, find_java, pyserini_environment

PER_FILE = 10_000  # passages per file; each thread of the indexer reads one file at a time
UNFINISHED = "unfinished-"
_DOWNLOAD = """
import json, sys
from stepopsd_envs.search_qa.retrieval.java import configure_java
configure_java()
from pyserini.util import download_prebuilt_index
from pyserini.prebuilt_index_info import TF_INDEX_INFO
known = TF_INDEX_INFO.get(sys.argv[1])
if known is None:
    raise SystemExit(f"{sys.argv[1]!r} is none of: {', '.join(sorted(TF_INDEX_INFO))}")
folder = download_prebuilt_index(sys.argv[1])
print(json.dumps({"folder": folder, "digest": known["md5"], "passages": known["documents"]}))
"""


@dataclass(frozen=True, slots=True)
class Prebuilt:
    """A prebuilt index on disk: its folder, the hash of the download, and the number of passages."""

    folder: Path
    digest: str
    passages: int


def build_lucene(
    passages: Iterable[Passage], folder: Path, threads: int, advance: Callable[[int], object]
) -> None:
    """Build the index; ``folder`` appears only when it is complete.

    Args:
        passages: the corpus.
        folder: folder of the index.
        threads: number of threads.
        advance: called with the number of passages done since the last call, to show progress.

    Raises:
        IndexingError: the indexer failed or skipped passages.
        DependencyNotInstalled: Java or pyserini is missing.
    """
    for unfinished in folder.parent.glob(f"{UNFINISHED}*"):  # from a killed build
        shutil.rmtree(unfinished)
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=folder.parent) as work:
        source, target = Path(work, "passages"), Path(work, "index")
        source.mkdir()
        written = _write_source(passages, source)
        indexed = _run_indexer(source, target, threads, advance)
        if indexed != written:
            raise IndexingError(
                f"Lucene indexed only {indexed} of {written} passages; check the passages for malformed ones"
            )
        target.rename(folder)


def download_prebuilt(name: str) -> Prebuilt:
    """One of pyserini's prebuilt indexes; pyserini downloads it if needed.

    Raises:
        IndexingError: pyserini does not know the index, or cannot download it.
        DependencyNotInstalled: pyserini or Java is missing.
    """
    find_jar(), find_java()
    root = Path(__file__).parents[3]
    environment = pyserini_environment()
    environment["PYTHONPATH"] = os.pathsep.join([str(root), environment.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", _DOWNLOAD, name]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, errors="replace")
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise IndexingError(
            f"pyserini cannot provide the prebuilt index {name!r}; see its output above. It downloads from "
            "the University of Waterloo, which needs a network, and unpacks into $PYSERINI_CACHE, else "
            "~/.cache/pyserini; you can also download an index by hand and unpack it there"
        )
    info = json.loads(lines[-1])
    return Prebuilt(Path(info["folder"]), info["digest"], info["passages"])


def _write_source(passages: Iterable[Passage], folder: Path) -> int:
    """Write the passages as files of JSON lines for the indexer; return their number."""
    rest, written = iter(passages), 0
    while lines := [_line(passage) for passage in islice(rest, PER_FILE)]:
        (folder / f"{written:012d}.jsonl").write_text("".join(lines), encoding="ascii")
        written += len(lines)
    return written


def _line(passage: Passage) -> str:
    return json.dumps({"id": passage.id, "contents": contents(passage)}) + "\n"


def _run_indexer(source: Path, target: Path, threads: int, advance: Callable[[int], object]) -> int:
    """Run Anserini's indexer; return the number of documents that it reports."""
    options = {
        "-collection": "JsonCollection",
        "-input": str(source),
        "-index": str(target),
        "-generator": "DefaultLuceneDocumentGenerator",
        "-threads": str(threads),
    }
    command = [str(find_java().program), "-cp", str(find_jar()), "io.anserini.index.IndexCollection"]
    command += [word for option in options.items() for word in option]
    with subprocess.Popen(
        [*command, "-storeRaw", "-optimize"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            return _follow(process, advance)
        finally:
            process.kill()  # no effect if it has ended


def _follow(process: "subprocess.Popen[str]", advance: Callable[[int], object]) -> int:
    """Follow the indexer's log; return the last count of documents in it."""
    advance(0)  # shows that the work has begun
    indexed, last = 0, list[str]()
    assert process.stdout is not None
    for line in process.stdout:
        last = [*last[-4:], line.strip()]
        count = re.search(r"([\d,]+) documents indexed", line)
        if count:
            now = int(count[1].replace(",", ""))
            advance(max(0, now - indexed))
            indexed = max(indexed, now)
    if process.wait():
        raise IndexingError(f"Lucene's indexer ended with code {process.returncode}: {' / '.join(last)}")
    return indexed
