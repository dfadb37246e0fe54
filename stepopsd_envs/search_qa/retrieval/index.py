"""Build indexes from corpora, and open them.

An index is a folder whose manifest is written last. A killed build can be resumed: a dense index after the
last encoded block, a hybrid index after the last complete part. BM25 and Lucene, which take seconds per
hundred thousand passages, start again.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path

from stepopsd_envs.disk_cache import cache_folder
from stepopsd_envs.search_qa.corpus import CorpusFacts, corpus_facts, read_corpus
from stepopsd_envs.search_qa.retrieval import bm25, lucene
from stepopsd_envs.search_qa.retrieval.base import Passage, Retriever
from stepopsd_envs.search_qa.retrieval.bm25 import Bm25
from stepopsd_envs.search_qa.retrieval.errors import IndexFolderError
from stepopsd_envs.search_qa.retrieval.hybrid import Hybrid
from stepopsd_envs.search_qa.retrieval.index_folder import (
    MANIFEST,
    Manifest,
    begin,
    locked,
    read_manifest,
    write_manifest,
)
from stepopsd_envs.search_qa.retrieval.index_settings import IndexSettings, Means
from stepopsd_envs.search_qa.retrieval.lucene_index import build_lucene, download_prebuilt
from stepopsd_envs.search_qa.retrieval.terms import VERSION
from stepopsd_envs.user_path import typed, user_path

PARTS = ("bm25", "dense")  # of a hybrid index
LUCENE = "lucene"  # folder of Lucene's files
OFTEN = 1000  # passages between two reports

Report = Callable[[str, int, int | None], object]
"""Progress callback: name of the work, passages done since the last call, total passages (None: unknown)."""


def _silent(what: str, done: int, total: int | None) -> None:
    """Report nothing."""


def build_index(
    corpus: str | Path,
    out: str | Path,
    settings: IndexSettings | None = None,
    means: Means | None = None,
    report: Report = _silent,
    wait: bool = False,
) -> Manifest:
    """Build the index of a corpus, or finish a half-built one; a complete index stays unchanged.

    Args:
        corpus: a JSONL file, plain or compressed.
        out: folder of the index.
        settings: the index to build; None: BM25.
        means: threads, device and location of the model.
        report: progress callback.
        wait: whether to wait for another process that builds in the folder; else this is an error.

    Raises:
        CorpusError: the corpus cannot be read.
        IndexFolderError: the folder holds something else, or another process builds there.
        IndexingError: Lucene's indexer failed.
        DependencyNotInstalled: a package for this kind of index is missing.
    """
    settings, means, out = settings or IndexSettings(), means or Means(), user_path(out)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out, wait):
        facts = corpus_facts(_reported(read_corpus(corpus), "reading the corpus", None, report))
        return _build(_Job(user_path(corpus), facts, settings, means, report), out)


def prebuilt_index(name: str, out: str | Path, k1: float | None = None, b: float | None = None) -> Manifest:
    """Make an index folder from one of pyserini's prebuilt Lucene indexes; download it if needed.

    Args:
        name: pyserini's name of the index.
        out: folder of the index.
        k1: BM25's k1; None: pyserini's default.
        b: BM25's b; None: pyserini's default.

    Raises:
        IndexingError: pyserini does not know the index, or cannot download it.
        IndexFolderError: the folder holds something else, or another process builds there.
        DependencyNotInstalled: pyserini or Java is missing.
    """
    out = user_path(out)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out, wait=False):
        prebuilt = download_prebuilt(name)
        facts = CorpusFacts(f"pyserini {name} {prebuilt.digest}", prebuilt.passages)
        settings = {**_bm25_settings(IndexSettings(LUCENE, k1, b), lucene.K1, lucene.B), "prebuilt": name}
        plan = Manifest(LUCENE, facts, settings)
        complete = begin(out, plan)
        if complete is not None:
            return complete
        if not (out / LUCENE).exists():
            (out / LUCENE).symlink_to(prebuilt.folder, target_is_directory=True)
        return write_manifest(out, plan)


def require_corpus(source: str | Path) -> Path:
    """The path of a corpus file or an index folder.

    Raises:
        IndexFolderError: the path does not exist.
    """
    path = user_path(source)
    if not path.exists():
        raise IndexFolderError(f"{path} does not exist; give a corpus file or a folder from stepopsd index")
    return path


def cached_index(corpus: str | Path, kind: str, means: Means | None = None, report: Report = _silent) -> Path:
    """The folder of a corpus file's index in the cache; the index is built if needed.

    Raises:
        IndexFolderError: there is no cache folder, or it cannot be written.
        RetrievalSetupError: the index cannot be built, see ``build_index``.
    """
    path = user_path(corpus).resolve()
    folder = cache_folder()
    if folder is None:
        raise IndexFolderError(
            f"there is no cache folder for the index; set STEPOPSD_CACHE or run: stepopsd index {corpus}"
        )
    stat = path.stat()
    version = f" {bm25.SCHEMA} {VERSION}" if kind == "bm25" else ""  # one of another version is refused
    state = f"{path} {stat.st_size} {stat.st_mtime_ns}{version}"
    name = blake2b(state.encode(), digest_size=8).hexdigest()
    out = folder / "retrieval" / f"{kind}-{name}"
    if not (out / MANIFEST).is_file():
        try:
            build_index(path, out, IndexSettings(kind), means, report, wait=True)
        except OSError as error:
            raise IndexFolderError(
                f"the index of {corpus} cannot be kept in {out}: {error.strerror or error}; set "
                "STEPOPSD_CACHE to a folder that can be written, or make the index elsewhere with: stepopsd "
                f"index {typed(corpus)} --out FOLDER"
            ) from error
    return out


def open_index(folder: str | Path, kind: str | None = None, means: Means | None = None) -> Retriever:
    """Open a complete index as a retriever in this process.

    Args:
        folder: folder of the index.
        kind: expected kind; None: any.
        means: threads, device and location of the model.

    Raises:
        IndexFolderError: the folder is not a complete index of this kind.
        RetrievalSetupError: the model of a dense index cannot be loaded or is another one.
        DependencyNotInstalled: a package for this kind of index is missing.
    """
    folder, means = user_path(folder), means or Means()
    manifest = read_manifest(folder, kind)
    if manifest.kind == "hybrid":
        return _open_hybrid(folder, manifest, means)
    if manifest.kind == "dense":
        return _open_dense(folder, manifest, means)
    if manifest.kind == "lucene":
        k1, b = manifest.settings["k1"], manifest.settings["b"]
        return lucene.LuceneRetriever(folder / LUCENE, manifest.corpus.fingerprint, k1, b, means.cores)
    return _open_bm25(folder)


@dataclass(frozen=True, slots=True)
class _Job:
    """The arguments of one build."""

    corpus: Path
    facts: CorpusFacts
    settings: IndexSettings
    means: Means
    report: Report

    def passages(self, what: str) -> Iterator[Passage]:
        """Read the passages and report the progress under the name ``what``."""
        return _reported(read_corpus(self.corpus), what, self.facts.passages, self.report)

    def advance(self, what: str) -> Callable[[int], object]:
        """The callback of a builder, which takes the number of passages done since the last call."""
        return lambda done: self.report(what, done, self.facts.passages)


def _build(job: _Job, out: Path) -> Manifest:
    builders = {"bm25": _build_bm25, "lucene": _build_lucene, "dense": _build_dense, "hybrid": _build_hybrid}
    return builders[job.settings.kind](job, out)


def _build_bm25(job: _Job, out: Path) -> Manifest:
    plan = Manifest("bm25", job.facts, _bm25_settings(job.settings, bm25.K1, bm25.B))
    complete = begin(out, plan)
    if complete is None:
        Bm25(job.passages("indexing"), plan.settings["k1"], plan.settings["b"]).save(out)
        complete = write_manifest(out, plan)
    return complete


def _build_lucene(job: _Job, out: Path) -> Manifest:
    plan = Manifest("lucene", job.facts, _bm25_settings(job.settings, lucene.K1, lucene.B))
    complete = begin(out, plan)
    if complete is None:
        if not (out / LUCENE).is_dir():
            source = job.passages("writing the passages for Lucene")
            build_lucene(source, out / LUCENE, job.means.cores, job.advance("indexing"))
        complete = write_manifest(out, plan)
    return complete


def _build_dense(job: _Job, out: Path) -> Manifest:
    from stepopsd_envs.search_qa.retrieval import dense
    from stepopsd_envs.search_qa.retrieval.encoder import Encoder, Prefixes
    from stepopsd_envs.search_qa.retrieval.passages import PassageStore, are_written, write_passages

    settings = job.settings
    prefixes = Prefixes(settings.query_prefix, settings.passage_prefix)
    encoder = Encoder(job.means.model or settings.model, job.means.device, prefixes, job.means.bfloat16)
    dense_settings = dense.DenseSettings.of(settings.model, encoder, settings.search)
    plan = Manifest("dense", job.facts, asdict(dense_settings))
    complete = begin(out, plan)
    if complete is not None:
        return complete
    if not are_written(out):
        write_passages(job.passages("copying the passages"), out)
    store = PassageStore(out)
    dense.encode_passages(out, store, encoder, job.advance("encoding"))
    store.close()
    if settings.search == "hnsw" and not dense.is_linked(out):
        dense.link(out, job.advance("linking neighbours"))
    return write_manifest(out, plan)


def _build_hybrid(job: _Job, out: Path) -> Manifest:
    plan = Manifest("hybrid", job.facts, {"dense_weight": job.settings.dense_weight})
    complete = begin(out, plan, PARTS)
    for part in PARTS:  # a complete part is not built again
        (out / part).mkdir(exist_ok=True)
        _build(replace(job, settings=replace(job.settings, kind=part)), out / part)
    return complete or write_manifest(out, plan)


def _open_hybrid(folder: Path, manifest: Manifest, means: Means) -> Retriever:
    for part in PARTS:
        if read_manifest(folder / part, part).corpus != manifest.corpus:
            raise IndexFolderError(f"{folder / part} is of another corpus than {folder}; build both again")
    weights = (1.0, float(manifest.settings["dense_weight"]))
    return Hybrid([open_index(folder / part, part, means) for part in PARTS], weights=weights)


def _open_dense(folder: Path, manifest: Manifest, means: Means) -> Retriever:
    from stepopsd_envs.search_qa.retrieval.dense import DenseRetriever, DenseSettings

    settings = DenseSettings(**manifest.settings)
    return DenseRetriever(folder, manifest.corpus.fingerprint, settings, means.device, means.model)


def _open_bm25(folder: Path) -> Retriever:
    try:
        return Bm25.load(folder)
    except ValueError as error:
        raise IndexFolderError(str(error)) from error


def _bm25_settings(settings: IndexSettings, k1: float, b: float) -> dict[str, float]:
    return {
        "k1": k1 if settings.k1 is None else settings.k1,
        "b": b if settings.b is None else settings.b,
    }


def _reported(passages: Iterator[Passage], what: str, total: int | None, report: Report) -> Iterator[Passage]:
    waiting = 0
    for passage in passages:
        yield passage
        waiting += 1
        if waiting == OFTEN:
            report(what, waiting, total)
            waiting = 0
    report(what, waiting, total)
