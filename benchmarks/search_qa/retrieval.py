"""Quality, speed and memory of the retrievers on real questions and passages.

    python -m benchmarks.search_qa.retrieval --corpus FILE --questions DIR [--dense FOLDER] [--json OUT]

``--corpus`` is a corpus of passages, ``--questions`` a folder of question files. One of them is
``hotpotqa_dev500.jsonl``, whose ``supporting`` ids are the relevance judgements: recall@10 is the mean share
of them among the first ten results. ``--dense`` is a dense index of the corpus, built or finished there if it
is not complete, which takes long; without it dense and hybrid are not measured. It needs the extra
``search``.

Speed is measured without a cache, with k = 3, in alternation with pyserini's LuceneSearcher in its own
process, after 500 queries to warm up, so that other work on the machine slows both. A ratio is the median of
all turns. The 64 clients run in one separate process and send one query at a time each; the server that
answers one query at a time is the same server with ``--max_batch 1``.

The table shows the target of each figure; the exit code is 1 if one is missed, 2 for bad input. ``--short``
(45 s) omits pyserini, dense and hybrid, and sends fewer queries.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.alfworld.speed import Target
from benchmarks.output import write_result
from benchmarks.search_qa import env as searchqa_env
from benchmarks.search_qa.retrieval_load import ROOT, Pyserini, pyserini, serving
from benchmarks.search_qa.retrieval_speed import (
    BATCH,
    CLIENTS,
    FULL,
    PATIENCE,
    SHORT,
    STANDARD,
    batching,
    one_client,
)
from stepopsd_envs.search_qa.retrieval.base import Retriever
from stepopsd_envs.search_qa.retrieval.http import HttpRetriever
from stepopsd_envs.search_qa.retrieval.index import LUCENE, open_index
from stepopsd_envs.search_qa.scoring import exact_match

COMMAND = "python -m benchmarks.search_qa.retrieval --corpus FILE --questions DIR --dense FOLDER"
JUDGED = "hotpotqa_dev500.jsonl"
TOP = 10
TUNED = (1.2, 0.75)  # k1 and b
BUILD = """
import json, resource, sys, time
from stepopsd_envs.search_qa.retrieval.index import build_index
from stepopsd_envs.search_qa.retrieval.index_settings import IndexSettings
began = time.perf_counter()
manifest = build_index(sys.argv[1], sys.argv[2], IndexSettings(**json.loads(sys.argv[3])))
kilobytes = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(json.dumps([time.perf_counter() - began, kilobytes / 1024, manifest.corpus.passages]))
"""


TARGETS = (
    Target("recall_bm25", "recall@10, bm25", 0.84, True),
    Target("recall_lucene", "recall@10, Lucene, k1=0.9 b=0.4", 0.81, True),
    Target("recall_lucene_tuned", "recall@10, Lucene, k1=1.2 b=0.75", 0.85, True),
    Target("same_ranking", "share of rankings equal to pyserini's, both settings", 1.0, True),
    Target("recall_dense", "recall@10, all-MiniLM-L6-v2", 0.0, True),
    Target("hybrid_gain", "recall@10 of hybrid less that of bm25", 0.0, True),
    Target("exact_match", "share of exact-match scores equal to Search-R1's", 1.0, True),
    Target("ratio", "queries/s through the server in eights, times pyserini's in-process", 0.5, True),
    Target("p99_ms", "ms, 99th percentile of one client's requests of eight", 50),
    Target("batching", f"queries/s with {CLIENTS} clients, times one query at a time, dense", 2.0, True),
    Target("batching_lucene", "the same, Lucene", 0.0, True),
    Target("env_steps_per_s", "env steps/s without retrieval", 20_000, True),
    Target("build_lucene_s", "s to index the corpus with Lucene", 60),
    Target("build_bm25_s", "s to index the corpus with bm25", 20),
)
"""A bound of 0 means that the figure is only reported."""


def read_questions(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The judged questions, and the questions of all files in a fixed random order."""
    judged = [json.loads(line) for line in (folder / JUDGED).read_text(encoding="utf-8").splitlines()]
    texts = {
        json.loads(line)["question"]
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    }
    queries = sorted(texts)
    random.Random(0).shuffle(queries)
    return judged, queries


def build(corpus: Path, out: Path, **settings: Any) -> tuple[float, float, int]:
    """Build an index in a new process; return seconds, peak memory in MiB and number of passages."""
    command = [sys.executable, "-c", BUILD, str(corpus), str(out), json.dumps(settings)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise ValueError(f"building {settings} failed; see its message above")
    seconds, megabytes, passages = json.loads(done.stdout.splitlines()[-1])
    return seconds, megabytes, passages


def search_all(retriever: Retriever, judged: Sequence[Mapping[str, Any]]) -> tuple[float, list[list[str]]]:
    """Recall on the judged questions, and the ids of the results."""
    queries = [row["question"] for row in judged]
    ids = [
        [passage.id for passage in one]
        for start in range(0, len(queries), BATCH)
        for one in retriever.search(queries[start : start + BATCH], TOP)
    ]
    shares = [
        len({*found} & {*row["supporting"]}) / len(set(row["supporting"]))
        for found, row in zip(ids, judged, strict=True)
    ]
    return sum(shares) / len(shares), ids


def indexes(corpus: Path, work: Path, dense: Path | None) -> tuple[dict[str, Path], dict[str, Any]]:
    """Build every index; return their folders, and time and memory of the builds."""
    folders = {"bm25": work / "bm25", "lucene": work / "lucene"}
    figures: dict[str, Any] = {}
    for kind, folder in folders.items():
        seconds, megabytes, passages = build(corpus, folder, kind=kind)
        figures |= {f"build_{kind}_s": seconds, f"build_{kind}_mb": megabytes, "passages": passages}
    if dense is not None:
        seconds, figures["build_dense_mb"], _ = build(corpus, dense, kind="dense")
        figures["opened_or_built_dense_s"] = seconds
        (work / "hybrid").mkdir()
        (work / "hybrid" / "dense").symlink_to(dense.absolute(), target_is_directory=True)
        build(corpus, work / "hybrid", kind="hybrid")
        folders |= {"dense": dense, "hybrid": work / "hybrid"}
    return folders, figures


def recalls(
    folders: Mapping[str, Path], judged: Sequence[Mapping[str, Any]], direct: Pyserini | None
) -> dict[str, Any]:
    """Recall of every retriever, agreement of rankings with pyserini, and memory of every server."""
    figures: dict[str, Any] = {}
    figures["recall_bm25"], _ = search_all(open_index(folders["bm25"]), judged)
    same: list[bool] = []
    for kind, folder in folders.items():
        with serving(folder) as served:
            recall, ids = search_all(HttpRetriever(served.url, "", PATIENCE), judged)
            figures |= {f"recall_{kind}": recall, f"server_{kind}_mb": served.memory_mb()}
            if kind == "lucene":
                same += equal_rankings(ids, judged, direct, *STANDARD)
    with tempfile.TemporaryDirectory() as tuned:
        retune(folders["lucene"], Path(tuned))
        with serving(Path(tuned)) as served:
            figures["recall_lucene_tuned"], ids = search_all(HttpRetriever(served.url, "", PATIENCE), judged)
            same += equal_rankings(ids, judged, direct, *TUNED)
    if same:
        figures |= {"same_ranking": sum(same) / len(same), "rankings": len(same)}
    if "recall_hybrid" in figures:
        figures["hybrid_gain"] = figures["recall_hybrid"] - figures["recall_bm25"]
    return figures


def retune(index: Path, out: Path) -> None:
    """Make a copy of the Lucene index with the other k1 and b, which affect only the search."""
    manifest = json.loads((index / "manifest.json").read_text())
    manifest["settings"] |= dict(zip(("k1", "b"), TUNED, strict=True))
    (out / "manifest.json").write_text(json.dumps(manifest))
    (out / LUCENE).symlink_to((index / LUCENE).absolute(), target_is_directory=True)


def equal_rankings(
    ids: Sequence[Sequence[str]],
    judged: Sequence[Mapping[str, Any]],
    direct: Pyserini | None,
    k1: float,
    b: float,
) -> list[bool]:
    """For each question, whether pyserini gives the same passages in the same order."""
    if direct is None:
        return []
    theirs = direct.search([row["question"] for row in judged], TOP, k1, b)["ids"]
    return [list(one) == other for one, other in zip(ids, theirs, strict=True)]


def equal_scores(path: Path) -> dict[str, float]:
    """The share of pairs with Search-R1's exact-match score; empty if the file does not exist."""
    if not path.is_file():
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    equal = [exact_match(row["prediction"], row["golden_answers"]) == row["em"] for row in rows]
    return {"exact_match": sum(equal) / len(equal), "exact_match_pairs": len(equal)}


def measure(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """All figures."""
    size = SHORT if arguments.short else FULL
    judged, queries = read_questions(arguments.questions)
    figures: dict[str, Any] = {"load_at_start": os.getloadavg()[0], "questions": len(judged)}
    figures |= equal_scores(arguments.questions.parent / "em-golden.jsonl")
    figures["env_steps_per_s"] = searchqa_env.measure(*size.env)["steps_per_s"]
    folders, built = indexes(arguments.corpus, work, arguments.dense)
    figures |= built
    with ExitStack() as opened:
        direct = None if arguments.short else opened.enter_context(pyserini(folders["lucene"] / LUCENE))
        figures |= recalls(folders, judged, direct)
        figures |= one_client(opened.enter_context(serving(folders["lucene"])), direct, queries, size)
    for kind in ("lucene", "dense"):
        if kind in folders:
            found = batching(folders[kind], queries, size)
            figures["batching" if kind == "dense" else "batching_lucene"] = found.pop("gain")
            figures |= {f"clients_{kind}_{name}": value for name, value in found.items()}
    return figures


def table(figures: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The lines of the table, and the names of the missed targets."""
    lines, missed = [], []
    for target in TARGETS:
        bound = (
            f"{'at least' if target.at_least else 'at most'} {target.limit:g}" if target.limit else "reported"
        )
        bound = "at least 0" if target.key == "hybrid_gain" else bound
        if target.key not in figures:
            lines.append(f"{'-':>12}  {target.name} ({bound}): not measured")
            continue
        met = target.met(figures[target.key])
        missed += [] if met else [target.name]
        mark = "" if bound == "reported" else ("  met" if met else "  MISSED")
        lines.append(f"{figures[target.key]:>12,.4g}  {target.name} ({bound}){mark}")
    memory = {name[7:-3]: value for name, value in figures.items() if name.startswith("server_")}
    lines.append("MB of a server: " + ", ".join(f"{kind} {value:.0f}" for kind, value in memory.items()))
    return lines, missed


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.search_qa.retrieval", description="Retrieval on real data."
    )
    parser.add_argument("--corpus", type=Path, required=True, help="passages: .jsonl, .jsonl.xz or .jsonl.gz")
    parser.add_argument("--questions", type=Path, required=True, help=f"folder with {JUDGED}")
    parser.add_argument(
        "--dense", type=Path, help="dense index of the corpus, built there if it is not complete"
    )
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--short", action="store_true", help="fewer figures from less work")
    arguments = parser.parse_args(argv)
    if arguments.short and arguments.dense:
        parser.error("--short leaves out the dense index; leave out --dense")
    if not (arguments.questions / JUDGED).is_file():
        print(f"error: {arguments.questions} has no {JUDGED}; give a folder that has it", file=sys.stderr)
        return 2
    try:
        with tempfile.TemporaryDirectory() as work:
            figures = measure(arguments, Path(work))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    lines, missed = table(figures)
    print("\n".join(lines))
    if arguments.json:
        write_result(arguments.json, {"missed": missed, **figures}, COMMAND)
    if figures["load_at_start"] > 0.5:
        print(f"other work ran on this machine (load {figures['load_at_start']:.1f}): speeds are provisional")
    print(
        f"recall@{TOP}: bm25 {figures['recall_bm25']:.3f}, Lucene {figures['recall_lucene']:.3f} and "
        f"{figures['recall_lucene_tuned']:.3f}; {figures['queries_per_s']:,.0f} queries/s through the server"
        f"; targets missed: {', '.join(missed) or 'none'}"
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
