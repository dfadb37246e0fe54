"""``stepopsd index``: indexes of corpora for Search-QA."""

from contextlib import ExitStack

from jsonargparse import Namespace

from stepopsd_agent.cli.checks import UsageError
from stepopsd_agent.cli.parser import Parser
from stepopsd_agent.cli.threads import use_threads
from stepopsd_agent.run import Progress, progress
from stepopsd_envs.search_qa.retrieval.index import build_index, prebuilt_index
from stepopsd_envs.search_qa.retrieval.index_folder import KINDS
from stepopsd_envs.search_qa.retrieval.index_settings import IndexSettings, Means

HELP = "build an index of a corpus, or get a prebuilt one, for Search-QA"
USES: frozenset[str] = frozenset()
USAGE = (
    "stepopsd index CORPUS --out FOLDER [--kind bm25|lucene|dense|hybrid] [...]\n"
    "       stepopsd index --prebuilt NAME --out FOLDER"
)


def add_flags(parser: Parser) -> None:
    """The corpus, the kind of index and its settings, and where it goes."""
    standard = IndexSettings()
    parser.usage = USAGE
    parser.add_argument(
        "corpus",
        type=str,
        nargs="?",
        help="passages, one JSON object a line: .jsonl, .jsonl.xz or .jsonl.gz",
    )
    parser.add_argument("--out", type=str, required=True, metavar="FOLDER", help="folder to make")
    parser.add_argument("--kind", choices=list(KINDS), help=f"what to build (default: {KINDS[0]})")
    parser.add_argument(
        "--prebuilt",
        type=str,
        metavar="NAME",
        help="one of pyserini's prebuilt Lucene indexes, such as wikipedia-dpr-100w, instead of a corpus",
    )
    parser.add_argument("--k1", type=float, help="of BM25 (default: bm25 1.5, lucene 0.9)")
    parser.add_argument("--b", type=float, help="of BM25 (default: bm25 0.75, lucene 0.4)")
    parser.add_argument(
        "--model",
        type=str,
        default=standard.model,
        help="of a dense index: folder, all-MiniLM-L6-v2 or a name of the Hugging Face Hub",
    )
    parser.add_argument(
        "--search",
        default=standard.search,
        choices=["flat", "hnsw"],
        help="of a dense index: exact, or by a graph",
    )
    parser.add_argument(
        "--dense_weight",
        type=float,
        default=standard.dense_weight,
        help="of a hybrid index: what a rank of the dense part counts beside one of bm25's",
    )
    parser.add_argument("--query_prefix", type=str, help="put before queries (default: the model's own)")
    parser.add_argument("--passage_prefix", type=str, help="put before passages (default: the model's own)")
    parser.add_argument("--device", type=str, help="to encode with, such as cuda (default: cpu)")
    parser.add_argument(
        "--bfloat16",
        type=bool,
        default=False,
        help="encode in it on a CPU: several times faster with Intel AMX, slower without",
    )
    parser.add_argument("--threads", type=int, help="to build with (default: all that it may use)")


def run(settings: Namespace) -> int:
    """Build an index, or finish one that was stopped."""
    if (settings.corpus is None) == (settings.prebuilt is None):
        raise UsageError("give either a corpus file or --prebuilt NAME")
    if settings.prebuilt is not None:
        if settings.kind not in (None, "lucene"):
            raise UsageError(f"prebuilt indexes are of kind lucene; leave out --kind {settings.kind}")
        manifest = prebuilt_index(settings.prebuilt, settings.out, settings.k1, settings.b)
    else:
        means = Means(settings.threads, settings.device, bfloat16=settings.bfloat16)
        if settings.threads is not None:
            use_threads(settings.threads)
        with _Bars() as bars:
            manifest = build_index(
                settings.corpus, settings.out, _index_settings(settings), means, bars.report
            )
    print(f"{manifest.kind} index of {manifest.corpus.passages:,} passages: {settings.out}")
    print(f"serve it with: stepopsd serve-retriever {settings.out}")
    return 0


def _index_settings(settings: Namespace) -> IndexSettings:
    return IndexSettings(
        settings.kind or "bm25",
        settings.k1,
        settings.b,
        settings.model,
        settings.search,
        settings.dense_weight,
        settings.query_prefix,
        settings.passage_prefix,
    )


class _Bars(ExitStack):
    """A progress bar for each kind of work, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self._what = ""
        self._bar: Progress | None = None

    def report(self, what: str, done: int, total: int | None) -> None:
        """Advance the bar of the present work; other work begins another bar."""
        if self._bar is None or what != self._what:
            self.pop_all().close()
            self._what, self._bar = what, self.enter_context(progress(total, what, unit="passage"))
        self._bar.advance(done)
