"""Evaluate one or several agents on the seven test sets of the papers, with a table row for each set.

    python -m benchmarks.runs.searchqa_real DIR --corpus FILE [--retriever bm25] [--agent expert ...]
    python -m benchmarks.runs.searchqa_real DIR --corpus FILE --agent model --model.path FOLDER

``DIR`` holds a JSONL file of questions for each set. Further flags are passed to ``stepopsd eval``, which
does the work and can also be called directly. The expert knows the golden answers, but gives an answer only
after it has read it. So its exact match is the share of questions whose answer its searches find, the upper
bound for agents that search in the same way. The exit code is 1 if episodes ended with an error.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.output import write_result
from benchmarks.report.parts import percent
from benchmarks.runs.commands import read
from stepopsd_agent.cli.main import main as stepopsd

SETS = {
    "nq": ("nq",),
    "triviaqa": ("triviaqa",),
    "popqa": ("popqa",),
    "hotpotqa": ("hotpotqa", "hotpotqa_dev500"),
    "2wikimultihopqa": ("2wikimultihopqa", "2wikimultihopqa_dev_aligned"),
    "musique": ("musique", "musique_dev_aligned"),
    "bamboogle": ("bamboogle",),
}
"""For each set the possible names of its file; the first existing one is used."""
BIASED = "_aligned"
"""Ending of the names of files that have only questions that one retrieval system has answered."""
AGENTS = ("random", "expert")


def question_files(folder: Path) -> list[Path]:
    """The files of the seven sets, in the order of the papers.

    Raises:
        SystemExit: a file is missing.
    """
    files = []
    for name, known in SETS.items():
        found = [path for one in known if (path := folder / f"{one}.jsonl").is_file()]
        if not found:
            names = " or ".join(f"{one}.jsonl" for one in known)
            print(
                f"benchmarks.runs.searchqa_real: error: {folder} has no {names} for {name}; give a folder "
                "with all seven sets",
                file=sys.stderr,
            )
            raise SystemExit(2)
        files.append(found[0])
    return files


def evaluate(agent: str, files: list[Path], flags: list[str]) -> dict[str, Any]:
    """Evaluate an agent on all sets; return the result of ``stepopsd eval``.

    Raises:
        SystemExit: ``stepopsd eval`` failed; has its exit code.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        questions = f"--eval.questions={json.dumps([str(path) for path in files])}"
        code = stepopsd(
            ["eval", "--env.id=stepopsd/SearchQA-v0", questions, f"--agent={agent}", f"--out={out}", *flags]
        )
        if code:
            raise SystemExit(code)
        return read(out / "evaluation.json")


def figures(tables: dict[str, dict[str, Any]], files: list[Path]) -> dict[str, Any]:
    """Success by agent and set, and the unweighted mean over the sets with an episode that counts."""
    names = [path.stem for path in files]
    rows = {agent: {name: table["by_set"][name] for name in names} for agent, table in tables.items()}
    return {
        "schema": "stepopsd.searchqa_real/1",
        "rows": rows,
        "means": {agent: _mean(list(sets.values())) for agent, sets in rows.items()},
        "biased": [name for name in next(iter(rows.values())) if name.endswith(BIASED)],
        "errors": sum(table["errors"] for table in tables.values()),
        "engine_version": next(iter(tables.values()))["engine_version"],
    }


def _mean(rows: Sequence[dict[str, Any]]) -> float | None:
    """Mean success; None where every episode of every set ended in an error."""
    rates = [row["success"] for row in rows if row["n"]]
    return sum(rates) / len(rates) if rates else None


def table_text(result: dict[str, Any]) -> str:
    """The table: a column for every agent, a row for every set; errors have a column if there are any."""
    agents, errors = list(result["rows"]), ["errors"] if result["errors"] else []
    lines = ["  ".join([f"{'exact match':<28}", f"{'n':>5}", *(f"{head:>8}" for head in [*agents, *errors])])]
    for name, row in result["rows"][agents[0]].items():
        found = [result["rows"][agent][name] for agent in agents]
        cells = [percent(one["success"] if one["n"] else None) for one in found]
        cells += [str(sum(one["errors"] for one in found)) for _ in errors]
        lines.append("  ".join([f"{name:<28}", f"{row['n']:>5}", *(f"{cell:>8}" for cell in cells)]))
    means = [f"{percent(result['means'][agent]):>8}" for agent in agents]
    return "\n".join([*lines, "  ".join([f"{'mean of the sets':<28}", " " * 5, *means])])


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parse the command line; return the arguments and the flags for ``stepopsd eval``."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.runs.searchqa_real",
        description="Play the seven question sets of the papers; further flags go to stepopsd eval.",
    )
    parser.add_argument("questions", type=Path, help="folder with a JSONL file for each set")
    parser.add_argument("--corpus", type=Path, help="file of passages, or a folder of stepopsd index")
    parser.add_argument("--retriever", default="bm25", help="as env.retriever; a server needs no corpus")
    parser.add_argument("--agent", nargs="+", default=list(AGENTS), help="the agents to evaluate, in turn")
    parser.add_argument("--json", type=Path, default=None, help="also write the figures here")
    parser.add_argument("--short", action="store_true", help="ten questions of each set")
    return parser.parse_known_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Parse, run, print."""
    arguments, eval_flags = parse(sys.argv[1:] if argv is None else argv)
    files = question_files(arguments.questions)
    flags = [f"--env.retriever={arguments.retriever}"]
    flags += [f"--env.corpus={arguments.corpus}"] if arguments.corpus else []
    flags += [f"--eval.num_questions={10 if arguments.short else 'null'}", *eval_flags]
    result = figures({agent: evaluate(agent, files, flags) for agent in arguments.agent}, files)
    print(table_text(result))
    if result["biased"]:
        print(f"only questions that one retrieval system has answered: {', '.join(result['biased'])}")
    if arguments.json is not None:
        agents = " ".join(arguments.agent)
        command = (
            f"python -m benchmarks.runs.searchqa_real DIR --corpus FILE --retriever {arguments.retriever}"
        )
        write_result(arguments.json, result, f"{command} --agent {agents}{' --short' * arguments.short}")
    means = ", ".join(f"{agent} {percent(mean)}" for agent, mean in result["means"].items())
    print(f"{len(files)} sets, mean exact match: {means}; {result['errors']} episodes ended in an error")
    return 1 if result["errors"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
