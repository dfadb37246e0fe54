"""The seven real sets through one command."""

import json
from pathlib import Path

import pytest

from benchmarks.runs import searchqa_real
from stepopsd_agent.ops import proportion
from tests.helpers.search_qa import write_rows


def small_sets(folder: Path) -> Path:
    """A file for each of the seven, with two questions of which a search answers one."""
    folder.mkdir()
    rows = [
        {"id": "a", "question": "Who built the mill?", "golden_answers": ["Ada Brenk"]},
        {"id": "b", "question": "Who burned the mill?", "golden_answers": ["Nobody Known"]},
    ]
    for names in searchqa_real.SETS.values():
        write_rows(folder / f"{names[-1]}.jsonl", rows)
    return folder


def small_corpus(folder: Path) -> Path:
    """One passage."""
    passage = {"id": "p", "title": "Mill", "contents": '"Mill"\nThe mill was built by Ada Brenk.'}
    return write_rows(folder / "corpus.jsonl", [passage])


def test_real_sets_have_a_row_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the papers' order, an agent per column; what is biased is said."""
    folder, out = small_sets(tmp_path / "sets"), tmp_path / "out.json"
    flags = [str(folder), "--corpus", str(small_corpus(tmp_path)), "--json", str(out)]
    assert searchqa_real.main(flags) == 0
    *_, first, _, _, _, _, _, _, mean, biased, last = capsys.readouterr().out.splitlines()
    assert first.startswith("nq ")
    assert mean.split()[-1] == "50.0%" and "musique_dev_aligned" in biased
    assert last.startswith("7 sets, mean exact match: random ") and last.endswith(
        "0 episodes ended in an error"
    )
    found = json.loads(out.read_text())
    assert set(found["rows"]["expert"]) == {names[-1] for names in searchqa_real.SETS.values()}
    assert found["means"]["expert"] == 0.5
    assert all(row["n"] == 2 for row in found["rows"]["random"].values())
    assert str(tmp_path) not in found["command"]


def test_real_sets_hand_flags_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One agent, and a setting of `stepopsd eval`."""
    flags = [str(small_sets(tmp_path / "sets")), f"--corpus={small_corpus(tmp_path)}", "--agent", "oracle"]
    assert searchqa_real.main([*flags, "--env.max_turns=1", "--short"]) == 0
    assert "mean exact match: oracle 100.0%" in capsys.readouterr().out


def test_real_sets_name_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The set and the names its file may have."""
    (small_sets(tmp_path / "sets") / "musique_dev_aligned.jsonl").unlink()
    with pytest.raises(SystemExit) as ended:
        searchqa_real.main([str(tmp_path / "sets"), "--corpus", "x"])
    assert ended.value.code == 2
    assert "no musique.jsonl or musique_dev_aligned.jsonl for musique" in capsys.readouterr().err


@pytest.mark.slow
def test_real_sets_of_the_test_data(test_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten questions of each set over the whole corpus."""
    folder = test_data / "searchqa"
    flags = [str(folder / "questions"), "--corpus", str(folder / "corpus.jsonl.xz"), "--short"]
    assert searchqa_real.main(flags) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert float(last.split("expert ")[1].split("%")[0]) > 30


def test_a_set_of_errors_alone_has_no_exact_match() -> None:
    """It is left out of the mean, and what failed is counted by set."""
    sets = {"a": {**proportion(1, 2), "errors": 0}, "b": {**proportion(0, 0), "errors": 2}}
    table = {"by_set": sets, "errors": 2, "engine_version": "1"}
    result = searchqa_real.figures({"model": table}, [Path("a.jsonl"), Path("b.jsonl")])
    assert result["means"] == {"model": 0.5}
    heading, first, second, _ = searchqa_real.table_text(result).splitlines()
    assert heading.split()[-1] == "errors" and first.split()[-2:] == ["50.0%", "0"]
    assert second.split() == ["b", "0", "-", "2"]
