"""The retrieval benchmark: its arithmetic, its targets, and its clients."""

import importlib.util
import json
from pathlib import Path

import pytest

from benchmarks.search_qa.retrieval import TARGETS, equal_scores, main, read_questions, search_all, table
from benchmarks.search_qa.retrieval_load import many_clients, serving
from stepopsd_envs.search_qa.retrieval.bm25 import Bm25
from stepopsd_envs.search_qa.retrieval.index import build_index
from tests.helpers.retrieval import SHELF, write_corpus

GOOD = {target.key: target.limit for target in TARGETS} | {"server_bm25_mb": 100.0}


def test_recall_is_the_mean_share_of_gold_passages() -> None:
    """One of two for the first question, all for the second: (1/2 + 1) / 2."""
    judged = [
        {"question": "red fox", "supporting": ["p1", "elsewhere"]},
        {"question": "salmon rivers", "supporting": ["p4", "p4"]},
    ]
    recall, ids = search_all(Bm25(SHELF), judged)
    assert recall == 0.75 and [one[0] for one in ids] == ["p1", "p4"]


def test_questions_are_asked_once_each_in_an_order_of_their_own(tmp_path: Path) -> None:
    """The same every time; the judged ones in their own order."""
    write_corpus(tmp_path / "hotpotqa_dev500.jsonl", [{"question": f"q{n}"} for n in range(9)])
    write_corpus(tmp_path / "nq.jsonl", [{"question": "q3"}, {"question": "other"}])
    judged, queries = read_questions(tmp_path)
    assert [row["question"] for row in judged] == [f"q{n}" for n in range(9)]
    assert sorted(queries) == ["other", *(f"q{n}" for n in range(9))] and queries != sorted(queries)
    assert read_questions(tmp_path)[1] == queries


def test_targets_are_met_or_missed_by_name() -> None:
    """At the bound they are met; what was not measured is not missed, but said."""
    lines, missed = table(GOOD)
    assert missed == [] and len([line for line in lines if line.endswith("  met")]) == 12
    lines, missed = table(GOOD | {"recall_bm25": 0.83, "p99_ms": 51.0, "hybrid_gain": -0.001})
    assert missed == [
        "recall@10, bm25",
        "recall@10 of hybrid less that of bm25",
        "ms, 99th percentile of one client's requests of eight",
    ]
    assert lines[0] == "        0.83  recall@10, bm25 (at least 0.84)  MISSED"
    lines, missed = table({"recall_bm25": 0.9})
    assert missed == [] and "not measured" in lines[1]


def test_exact_match_is_compared_where_the_pairs_are(tmp_path: Path) -> None:
    """Half of these two are scored otherwise; without a file there is nothing to say."""
    rows = [
        {"prediction": "The Fox", "golden_answers": ["fox"], "em": 1},
        {"prediction": "a bear", "golden_answers": ["fox"], "em": 1},
    ]
    assert equal_scores(write_corpus(tmp_path / "em.jsonl", rows)) == {
        "exact_match": 0.5,
        "exact_match_pairs": 2,
    }
    assert equal_scores(tmp_path / "none.jsonl") == {}


def test_folder_without_judgements_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, with what is missing."""
    assert main(["--corpus", "x", "--questions", str(tmp_path)]) == 2
    assert "has no hotpotqa_dev500.jsonl" in capsys.readouterr().err


def test_clients_share_the_queries_out(tmp_path: Path) -> None:
    """Each query is sent once, by whichever client."""
    if importlib.util.find_spec("uvicorn") is None:
        pytest.skip("the extra search is not installed: no server")
    build_index(write_corpus(tmp_path / "shelf.jsonl"), tmp_path / "index")
    with serving(tmp_path / "index") as served:
        found = many_clients(served.url, 4, [f"fox {n}" for n in range(30)], 2)
        assert len(found["latencies_ms"]) == 30 and 0 < found["seconds"] < 60
        assert served.memory_mb() > 10
    assert json.loads((tmp_path / "index" / "manifest.json").read_text())["kind"] == "bm25"
