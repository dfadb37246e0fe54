"""``stepopsd compare``: evaluations of the same tasks, and what cannot be compared."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from stepopsd_agent.ops import newcombe
from stepopsd_wrappers import Episode, EpisodeWriter
from tests.helpers.command_line import refusal, run
from tests.helpers.text_env import make_episode

TINY = ["--env.tier=tiny", "--env.step_limit=8", "--eval.num_games=6"]


def played(
    task: int, won: bool, *, member: int = 0, failed: bool = False, kind: str = "", **other: object
) -> Episode:
    """One episode at a task; two types of task take turns."""
    episode = make_episode(num_steps=1)
    kind = kind or ("pick", "heat")[task % 2]
    first, last = (replace(step, info={**step.info, "task_type": kind, "won": won}) for step in episode.steps)
    if failed:
        last = replace(last, error="ValueError: broken", info={})
    changed = replace(episode, steps=(first, last), task_id=f"task {task}", update=0)
    changed = replace(changed, group=task, member=member, seed=100 * member + task)
    return replace(changed, **other)  # type: ignore[arg-type]


def write(folder: Path, episodes: Sequence[Episode]) -> str:
    """The folder's name."""
    with EpisodeWriter(folder / "episodes") as writer:
        for episode in episodes:
            writer.append(episode)
    return str(folder)


def wins(folder: Path, outcomes: str, **other: object) -> str:
    """A folder of one episode per task; "+" is a win and "-" a loss, "x" an error."""
    found = [played(k, sign == "+", failed=sign == "x", **other) for k, sign in enumerate(outcomes)]  # type: ignore[arg-type]
    return write(folder, found)


def test_compare_pairs_the_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twelve tasks, nine better and one worse: p = 2 * (1 + 10) / 1024."""
    a, b = wins(tmp_path / "a", "---------++-"), wins(tmp_path / "b", "+++++++++-+-")
    out = tmp_path / "found.json"
    assert run("compare", a, b, f"--json={out}") == 0
    printed = capsys.readouterr().out
    assert "better on 9 tasks, worse on 1, equal on 2; exact sign test p = 0.0215" in printed
    assert f"more than noise: by the test {b} is better, on 9 of the 10 tasks that differ\n" in printed
    assert "+66.7 points, 95 % interval" in printed
    found = json.loads(out.read_text())
    one, (compared,) = found["folders"], found["compared"]
    assert found["schema"] == "stepopsd.comparison/1" and "commit" in found
    assert [folder["success"] for folder in one] == [2 / 12, 10 / 12]
    assert compared["p"] == compared["p_holm"] == pytest.approx(22 / 1024)
    assert compared["difference"] == pytest.approx(8 / 12) and compared["interval"] == "newcombe"
    assert compared["ci95"][0] < 8 / 12 < compared["ci95"][1] and not compared["within_noise"]
    kinds = compared["by_task_type"]
    assert set(kinds) == {"pick", "heat"} and kinds["heat"]["worse"] == 1
    assert sum(kind["better"] for kind in kinds.values()) == 9
    # The other way round: the same with another sign.
    assert run("compare", b, a) == 0
    assert (
        f"more than noise: by the test {a} is worse, on 9 of the 10 tasks that differ\n"
        in capsys.readouterr().out
    )


def test_compare_says_within_noise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Five better and none worse is p = 1/16; what one comparison proves may not stand among two."""
    a, b = wins(tmp_path / "a", "-----+++"), wins(tmp_path / "b", "++++++++")
    assert run("compare", a, b) == 0
    assert "p = 0.0625\nwithin noise: by the test these tasks do not tell" in capsys.readouterr().out
    six, few = wins(tmp_path / "six", "++++++++"), wins(tmp_path / "few", "------++")
    assert run("compare", few, six) == 0
    assert "p = 0.0312\nmore than noise" in capsys.readouterr().out
    assert run("compare", few, six, a) == 0
    assert "p = 0.0312, 0.0625 for 2 comparisons (Holm)\nwithin noise" in capsys.readouterr().out


def test_compare_explains_where_test_and_interval_seem_to_disagree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each figure says what it is of, and the reader is told which to go by."""
    a, b = wins(tmp_path / "a", "-----+++"), wins(tmp_path / "b", "++++++++")
    assert run("compare", a, b) == 0
    printed = capsys.readouterr().out
    assert "+17.0 to +86.3 (newcombe)" in printed and "p = 0.0625\nwithin noise: by the test" in printed
    assert "\nthe interval leaves out 0 all the same: more tasks would tell\n" in printed
    assert "where it seems to say otherwise, go by the test" in " ".join(printed.split())
    # 6 : 0 is enough by itself and not among two; the interval is not made wider for that.
    six, few = wins(tmp_path / "six", "++++++++"), wins(tmp_path / "few", "------++")
    assert run("compare", few, six, a) == 0
    assert "leaves out 0 all the same, for this comparison alone" in capsys.readouterr().out
    # Nine tasks are better by one of four attempts; one is worse by all: (9 - 4) / 40, (9 - 12) / 48.
    for attempts, points, said in (
        (4, "+12.5", "by how much is open: the interval of mean success holds 0"),
        (12, "-6.2", "mean success goes the other way: the fewer tasks differ by more"),
    ):
        names = (f"first {attempts}", f"second {attempts}")
        c, d = (
            write(
                tmp_path / name,
                [played(k, m < 1 + place, member=m) for k in range(1, 10) for m in range(4)]
                + [played(0, not place, member=m) for m in range(attempts)],
            )
            for place, name in enumerate(names)
        )
        assert run("compare", c, d) == 0
        printed = capsys.readouterr().out
        assert f"{d} against {c}: mean success {points} points" in printed and "p = 0.0215" in printed
        assert f"{d} is better, on 9 of the 10 tasks that differ\n{said}\n" in printed


def test_compare_counts_tasks_where_each_was_played_often(tmp_path: Path) -> None:
    """Four attempts at each of three tasks are three signs, not twelve."""
    rows = {"a": "-", "b": "+"}
    a, b = (
        write(tmp_path / name, [played(task, sign == "+", member=m) for task in range(3) for m in range(4)])
        for name, sign in rows.items()
    )
    out = tmp_path / "found.json"
    assert run("compare", a, b, f"--json={out}") == 0
    (found,) = json.loads(out.read_text())["compared"]
    assert (found["n"], found["tasks"], found["better"], found["p"]) == (12, 3, 3, 0.25)
    # No task differs from another: a bootstrap over them would give +100 to +100, of three tasks.
    assert found["interval"] == "newcombe" and found["within_noise"]
    assert found["ci95"] == [pytest.approx(bound) for bound in newcombe(0, 0, 3, 0)]
    assert found["ci95"][0] < 0.5
    more = write(tmp_path / "more", [played(task, task > 0, member=m) for task in range(3) for m in range(4)])
    assert run("compare", a, more, f"--json={tmp_path / 'more.json'}") == 0
    (found,) = json.loads((tmp_path / "more.json").read_text())["compared"]
    assert found["interval"] == "bootstrap over tasks"


def test_compare_leaves_out_what_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In either folder; an attempt made again after its error counts as it then went."""
    a = write(
        tmp_path / "a", [played(0, False, failed=True), played(0, True), played(1, True), played(2, False)]
    )
    b = wins(tmp_path / "b", "-x+")
    assert run("compare", a, b) == 0
    printed = capsys.readouterr().out
    assert "1 pairs in which one ended in an error are left out" in printed
    assert "better on 1 tasks, worse on 1, equal on 0" in printed


def test_compare_counts_errors_by_task_type(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A type whose every episode ended in an error is there, without a rate; so is one without a pair."""
    a, b = wins(tmp_path / "a", "+x+x-x"), wins(tmp_path / "b", "+-x+-+")
    out = tmp_path / "found.json"
    assert run("compare", a, b, f"--json={out}") == 0
    found = json.loads(out.read_text())
    first, second = (folder["by_task_type"] for folder in found["folders"])
    assert first["heat"] == {"success": 0.0, "n": 0, "ci95": [0.0, 1.0], "errors": 3}
    assert (first["pick"]["n"], first["pick"]["errors"]) == (3, 0)
    assert (second["pick"]["n"], second["pick"]["errors"], second["heat"]["errors"]) == (2, 1, 0)
    kinds = found["compared"][0]["by_task_type"]
    assert (kinds["pick"]["n"], kinds["pick"]["left_out"]) == (2, 1)
    heat = kinds["heat"]
    assert heat.keys() == kinds["pick"].keys() and (heat["n"], heat["tasks"], heat["left_out"]) == (0, 0, 3)
    assert [heat[name] for name in ("success", "difference", "ci95", "interval", "p")] == [None] * 5
    lines = capsys.readouterr().out.splitlines()
    heading = next(line for line in lines if line.startswith("task type"))
    assert "left out  p (" in heading
    assert next(line for line in lines if line.startswith("heat")).split()[1:] == [*"--0003-"]


def test_compare_knows_the_type_of_a_game_whose_reset_failed(tmp_path: Path) -> None:
    """The record without a beginning does not know it; the partner's does."""
    broken = played(0, False, failed=True)
    broken = replace(broken, steps=(replace(broken.steps[0], info={}, error="OSError: gone"),))
    a, b = write(tmp_path / "a", [broken, played(1, True)]), wins(tmp_path / "b", "++")
    out = tmp_path / "found.json"
    assert run("compare", a, b, f"--json={out}") == 0
    found = json.loads(out.read_text())
    assert found["folders"][0]["by_task_type"]["not begun"]["errors"] == 1
    assert found["compared"][0]["by_task_type"]["pick"]["left_out"] == 1


def test_compare_notes_other_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Same tasks, another limit of steps: compared, and said."""
    specs = [{"id": "a", "kwargs": {"step_limit": n, "data_root": str(n)}} for n in (30, 50)]
    a, b = (wins(tmp_path / str(k), "+-", env_spec=spec) for k, spec in enumerate(specs))
    assert run("compare", a, b) == 0
    printed = capsys.readouterr().out
    assert f"note: step_limit is 50, and 30 in {a}" in printed and "data_root" not in printed


def test_compare_refuses_what_was_not_played_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each in one line that says what differs."""
    a = wins(tmp_path / "a", "+-+-")
    more = wins(tmp_path / "more", "+-+-++")
    line = refusal(capsys, "compare", a, more)
    assert "the tasks differ: 0 of 4 episodes are in" in line and "2 of 6 in" in line and "'task 4'" in line
    data = wins(tmp_path / "data", "+-+-", fingerprint="another")
    assert "the data differ, though the tasks have the same names" in refusal(capsys, "compare", a, data)
    seeds = wins(tmp_path / "seeds", "+-+-", seed=7)
    line = refusal(capsys, "compare", a, seeds)
    assert (
        "the seeds or the numbering of the episodes differ: task task 0, seed 0" in line and "seed 7" in line
    )
    twice = write(tmp_path / "twice", [played(0, True), played(0, False)])
    assert "two records of task task 0" in refusal(capsys, "compare", a, twice)
    failed = wins(tmp_path / "failed", "xxxx")
    assert "no task ended without an error in both" in refusal(capsys, "compare", a, failed)
    assert "two different folders or more" in refusal(capsys, "compare", a)
    assert "two different folders or more" in refusal(capsys, "compare", a, a)
    assert "two different folders or more" in refusal(capsys, "compare", a, f"{a}/")
    assert "there is no such folder" in refusal(capsys, "compare", a, str(tmp_path / "nowhere"))
    other = wins(tmp_path / "other", "++++")
    assert "is there already" in refusal(capsys, "compare", a, other, f"--json={a}")
    (tmp_path / "file").touch()
    beneath, new = tmp_path / "file" / "found.json", tmp_path / "new"
    line = refusal(capsys, "compare", a, other, f"--json={beneath}")  # before the tables are printed
    assert f"cannot write {beneath}: Not a directory" in line
    assert "File name too long" in refusal(capsys, "compare", a, other, f"--json={tmp_path / ('x' * 250)}")
    assert "the tasks differ" in refusal(capsys, "compare", a, more, f"--json={new / 'found.json'}")
    assert not new.exists() and {path.name for path in tmp_path.iterdir()} == {
        *("a", "more", "data", "seeds", "twice", "failed", "other", "file")
    }


def test_compare_reads_what_eval_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Oracle against random play on generated games."""
    for agent in ("random", "expert"):
        assert run("eval", f"--agent={agent}", *TINY, f"--out={tmp_path / agent}") == 0
    capsys.readouterr()
    assert run("compare", str(tmp_path / "random"), str(tmp_path / "expert")) == 0
    printed = capsys.readouterr().out
    assert "worse on 0" in printed and "note:" not in printed


def test_compare_says_that_two_runs_are_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another run with equal success is within noise; one that was repeated is the same."""
    a, b = wins(tmp_path / "a", "+-+-"), wins(tmp_path / "b", "+-+-")
    assert run("compare", a, b) == 0
    assert "p = 1\nthe same: every pair of episodes has the same actions" in capsys.readouterr().out
    one = played(0, True)
    other = replace(one, steps=(one.steps[0], replace(one.steps[1], action="another way")))
    c = write(tmp_path / "c", [other, *(played(k, sign == "+") for k, sign in enumerate("+-+-") if k)])
    assert run("compare", a, c) == 0
    assert "p = 1\nwithin noise" in capsys.readouterr().out
