"""The flags of ``stepopsd index`` and ``stepopsd serve-retriever``."""

from jsonargparse import ArgumentParser

from stepopsd_envs.search_qa.retrieval.index_folder import KINDS
from stepopsd_envs.search_qa.retrieval.index_settings import IndexSettings
from stepopsd_envs.search_qa.retrieval.server import add_arguments

INDEX_USAGE = (
    "stepopsd index CORPUS --out FOLDER [--kind bm25|lucene|dense|hybrid] [...]\n"
    "       stepopsd index --prebuilt NAME --out FOLDER"
)
SERVE_USAGE = "stepopsd serve-retriever INDEX [--host ADDRESS] [--port NUMBER] [...]"


def add_index_flags(parser: ArgumentParser) -> None:
    """What to build, of what, and where."""
    standard = IndexSettings()
    parser.usage = INDEX_USAGE
    parser.add_argument(
        "corpus",
        type=str,
        nargs="?",
        help="passages, one JSON object a line: .jsonl, .jsonl.xz or .jsonl.gz",
    )
    parser.add_argument("--out", type=str, required=True, metavar="FOLDER", help="folder to make")
    parser.add_argument("--kind", type=str, choices=list(KINDS), help=f"what to build (default: {KINDS[0]})")
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
        type=str,
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
    parser.add_argument("--threads", type=int, help="to build with (default: all cores)")


def add_serve_flags(parser: ArgumentParser) -> None:
    """What to serve, and where."""
    parser.usage = SERVE_USAGE
    add_arguments(parser)
