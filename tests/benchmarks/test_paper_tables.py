"""Our runs beside published rows: figures, intervals, and what chance alone can do."""

import json
from pathlib import Path

import pytest

from benchmarks.credit.paper_tables import (
    SETS,
    lines_of,
    main,
    marked,
    notes,
    read_published,
    read_run,
    tables,
    text,
    within_noise,
)
from stepopsd_agent.ops import proportion
from tests.helpers.command_line import TINY, run
from tests.helpers.runs import demonstrations, fresh, train_arguments


def test_published_rows_are_counts_of_games() -> None:
    """GRPO with 3B: 31/34, 5/8, 25/26, 13/21, 13/20, 9/19 = 96/128, each printed to one decimal."""
    rows = {(row["model"], row["label"]): row for row in read_published("alfworld")}
    cells = rows["Qwen2.5-3B-Instruct", "GRPO"]["cells"]
    won = [round(cell["success"] * cell["n"]) for cell in cells.values()]
    assert won == [31, 5, 25, 13, 13, 9, 96] and sum(won[:6]) == won[6]
    assert all(cell["is_count"] for cell in cells.values())
    assert not rows["Qwen2.5-3B-Instruct", "OPID"]["cells"]["All"]["is_count"]  # 107.9 of 128
    assert "#" in text(rows["Qwen2.5-3B-Instruct", "OPID"]["cells"]["All"])


def test_every_published_row_has_a_source_and_averages_are_of_its_cells() -> None:
    """Means of the seven sets, where all are there, to the printed decimal."""
    for table in ("alfworld", "search_qa"):
        assert all(row["source"] and row["cells"] for row in read_published(table))
    for row in read_published("search_qa"):
        if all(name in row["cells"] for name in (*SETS, "Average")):
            mean = sum(row["cells"][name]["success"] for name in SETS) / len(SETS)
            assert row["cells"]["Average"]["success"] == pytest.approx(mean, abs=1.5e-3), row["label"]


def test_bamboogle_is_counted_out_of_two_different_numbers() -> None:
    """Those of the shared table near 65 % fit 248 questions and none 125; Search-R1's fit the 125."""
    for row in read_published("search_qa"):
        cell = row["cells"].get("Bamboogle")
        if cell is not None and cell["n"] == 248:
            assert cell["is_count"], row["label"]
            percent = round(100 * cell["success"], 1)
            assert all(round(100 * right / 125, 1) != percent for right in range(126))
        if "Search-R1" in row["label"]:
            assert cell["n"] == 125 and cell["is_count"]


def test_gaps_within_noise_are_marked() -> None:
    """95.0 % of 20 and 84.2 % of 19 are within chance; 21.9 % and 84.4 % of 128 are not."""
    assert within_noise(proportion(19, 20), proportion(16, 19))
    assert not within_noise(proportion(28, 128), proportion(108, 128))
    rows = read_published("alfworld")
    pairs = marked(rows, "All")
    near, count = pairs["Qwen2.5-3B-Instruct"]
    assert 0 < near < count
    cells = {row["label"]: row["cells"]["All"] for row in rows if row["model"] == "Qwen2.5-3B-Instruct"}
    assert "near_best" in cells["SDAR"] and not cells["SDAR"]["near_best"]  # it is the best
    assert cells["StepOPSD"]["near_best"] and not cells["Vanilla"]["near_best"]


def test_games_are_official_by_the_split_that_was_evaluated(tmp_path: Path) -> None:
    """Whatever games the policy was trained on; a folder of somebody's own games is not official."""
    played = {
        "valid_unseen": True,
        "valid_seen": True,
        "generated": False,
        "train": False,
        "/my/games": False,
        ("valid_seen", "valid_unseen"): True,
        ("valid_seen", "generated"): False,
    }
    for number, (games, official) in enumerate(played.items()):
        config = {
            "env": {"games": "generated"},
            "eval": {"games": list(games) if type(games) is tuple else games},
        }
        content = {"config": config, "agent": "model", "by_task_type": {}, **proportion(1, 2)}
        place = tmp_path / str(number)
        place.mkdir()
        (place / "evaluation.json").write_text(json.dumps(content))
        assert read_run(place)["official"] == official, games


def test_search_qa_has_averages_with_and_without_bamboogle(tmp_path: Path) -> None:
    """Each set counts the same; a set that is missing leaves the average out."""
    played = {f"{start}_test": proportion(50, 100) for start in SETS.values()}
    played["bamboogle_test"] = proportion(0, 125)
    config = {"env": {"id": "stepopsd/SearchQA-v0"}, "eval": {}}
    for name, sets in (("all", played), ("some", {"nq_test": played["nq_test"], "bamboogle_test": {}})):
        (tmp_path / name).mkdir()
        content = {"config": config, "agent": "model", "by_task_type": {}, "by_set": sets}
        content |= proportion(300, 725)
        (tmp_path / name / "evaluation.json").write_text(json.dumps(content))
    cells = read_run(tmp_path / "all")["cells"]
    assert cells["Average"]["success"] == pytest.approx(3 / 7)
    assert cells["without Bamboogle"]["success"] == 0.5 and cells["without Bamboogle"]["n"] == 600
    assert cells["NQ"] == proportion(50, 100) and "Average" not in read_run(tmp_path / "some")["cells"]


def test_errors_have_a_column_and_a_type_of_errors_alone_has_no_rate(tmp_path: Path) -> None:
    """Two of three episodes of one type failed and all of another; published rows do not tell."""
    types = {
        "pick_and_place_simple": {**proportion(1, 1), "errors": 2},
        "look_at_obj_in_light": {**proportion(0, 0), "errors": 1},
    }
    table = {**proportion(1, 1), "errors": 3, "by_task_type": types}
    content = {"config": {"env": {}, "eval": {"games": "valid_seen"}}, "agent": "model", **table}
    whole = {**content, **proportion(1, 1), "errors": 0, "by_task_type": {}}
    for name, one in (("broken", content), ("whole", whole)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "evaluation.json").write_text(json.dumps(one))
    found = tables([tmp_path / "broken", tmp_path / "whole"])
    head, first, second, *others = lines_of(found["alfworld"]["rows"], "alfworld")
    assert head[-1] == "errors" and (first[-1], second[-1]) == ("3", "0")
    assert {line[-1] for line in others} == {"-"} and first[head.index("Look")] == "-"
    assert any("3 of 4 episodes of broken, model" in note for note in notes({}, found["alfworld"]["rows"]))
    clean = lines_of(tables([tmp_path / "whole"])["alfworld"]["rows"], "alfworld")
    assert "errors" not in clean[0]


def test_averages_need_every_set_to_have_an_answer_that_counts(tmp_path: Path) -> None:
    """A set whose every question ended in an error has no exact match, and is no division by zero."""
    sets = {f"{start}_test": proportion(50, 100) for start in SETS.values()}
    sets["bamboogle_test"] = {**proportion(0, 0), "errors": 125}
    config = {"env": {"id": "stepopsd/SearchQA-v0"}, "eval": {}}
    table = {"by_task_type": {}, "by_set": sets, **proportion(300, 600), "errors": 125}
    content = {"config": config, "agent": "model", **table}
    (tmp_path / "evaluation.json").write_text(json.dumps(content))
    row = read_run(tmp_path)
    assert "Average" not in row["cells"] and row["cells"]["without Bamboogle"]["success"] == 0.5
    head, line = lines_of([row], "search_qa")
    assert line[head.index("Bamboogle")] == "-" and line[-1] == "125"


@pytest.mark.repeats
@pytest.mark.samples
def test_a_run_and_an_evaluation_stand_beside_published_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From what train and eval write; generated games are marked, and another folder is refused."""
    model, trained, played = tmp_path / "model", tmp_path / "trained", tmp_path / "played"
    fresh(demonstrations(20)).save(model)
    assert run(*train_arguments(model, trained, "--updates=2", "--credit.method=grpo")) == 0
    assert run("eval", "--agent=expert", *TINY, "--eval.num_games=6", f"--out={played}") == 0
    page, result = tmp_path / "page.md", tmp_path / "found.json"
    capsys.readouterr()
    command = ["paper_tables", str(trained), str(played), "--markdown", str(page), "--json", str(result)]
    monkeypatch.setattr("sys.argv", command)
    assert main() == 0
    out, found = capsys.readouterr().out, json.loads(result.read_text())
    summary = json.loads((trained / "summary.json").read_text())
    first, second = found["alfworld"]["rows"][:2]
    assert first["cells"]["All"] == summary["final"] and first["label"] == "trained, grpo"
    assert second["cells"]["All"]["n"] == 6 and second["label"] == "played, expert"
    assert "?: played on other games" in out and "| GiGPO with std |" in page.read_text()
    with pytest.raises(SystemExit, match=r"no evaluation\.json"):
        tables([tmp_path])
    (tmp_path / "evaluation.json").write_text('{"config": {}, "agent": "expert"}')
    with pytest.raises(SystemExit, match=r"finish it with: stepopsd eval --resume"):
        tables([tmp_path])
