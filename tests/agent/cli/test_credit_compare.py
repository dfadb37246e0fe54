"""``stepopsd credit compare``: methods and controls judged on the records of any agent."""

import json
from pathlib import Path

import pytest

from stepopsd_agent.accuracy import CONTROLS, SKIPPED, entries
from stepopsd_agent.credit import registry
from tests.benchmarks.test_credit_accuracy import METHOD
from tests.helpers.command_line import TINY, record, refusal, run
from tests.helpers.runs import taught

GAMES = ["--agent=random", "--episodes=6", "--env.num_games=2", "--env.step_limit=8"]


def test_credit_compare_judges_every_method_that_the_records_allow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An agent without tokens, no model: a row or a reason for each, the controls, a file and a picture."""
    folder, result, picture = tmp_path / "games", tmp_path / "found.json", tmp_path / "found.png"
    record(folder, *GAMES, "--env.oracle=true")
    capsys.readouterr()
    files = [f"--json={result}", f"--picture={picture}"]
    assert run("credit", "compare", str(folder), "--group_by=task", *files) == 0
    out, found = capsys.readouterr().out, json.loads(result.read_text())
    assert out.startswith("6 episodes at 2 tasks in 2 groups, ") and found["schema"].endswith("accuracy/1")
    assert {*found["methods"], *found["left_out"]} == {*(entry.name for entry in entries()), *SKIPPED}
    assert "path_gain, text keys" in found["methods"]
    assert "give --model.path" in found["left_out"]["step_opsd"]
    assert "only a run can compute" in found["left_out"]["turn_gae"]
    assert found["controls"]["truth (optimal distance)"]["auc_unmixed"]["value"] == 1.0
    assert set(CONTROLS) - set(found["controls"]) == {"student's log-probability"}
    table = out.split("\n\n")[1].splitlines()
    assert len({len(line) for line in table}) == 1 and len(table) == 1 + sum(
        len(found[kind]) for kind in ("methods", "controls")
    )
    assert picture.stat().st_size > 10_000
    assert "is there already" in refusal(capsys, "credit", "compare", str(folder), files[0])
    for flag in ("--json", "--picture"):  # before anything is judged, and printed
        line = refusal(capsys, "credit", "compare", str(folder), f"{flag}={result / 'beneath'}")
        assert f"cannot write {result / 'beneath'}: Not a directory" in line


def test_credit_compare_takes_a_method_from_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its figures are those of the control that it is made of; distances come from playing again."""
    folder, result = tmp_path / "games", tmp_path / "found.json"
    record(folder, *GAMES)
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    (tmp_path / "someones_compared.py").write_text(METHOD.replace("benchmarked", "compared"))
    monkeypatch.syspath_prepend(str(tmp_path))
    named = ["--method", "someones_compared:accepted_steps", "path_gain idle_cost=0.3"]
    assert "tell no distance to the goal" in (
        message := refusal(capsys, "credit", "compare", str(folder), *named)
    )
    assert "--replay" in message and "--env.oracle true" in message
    assert run("credit", "compare", str(folder), *named, "--replay", f"--json={result}") == 0
    said = capsys.readouterr().out
    assert "6 episodes are alone in their group" in said and "tasks are few: the intervals" in said
    found = json.loads(result.read_text())
    assert set(found["methods"]) == {"someones_compared:accepted_steps", "path_gain idle_cost=0.3"}
    own, control = found["methods"]["someones_compared:accepted_steps"], found["controls"]["step accepted"]
    for name in ("auc_unmixed", "pushed_up", "pushed_down"):
        assert own[name] == control[name]
    assert found["left_out"] == {}


FAULTY = """
import torch
from dataclasses import dataclass
from typing import ClassVar
from stepopsd_agent import credit, ops
from stepopsd_agent.credit import Credit


class Method:
    paper: ClassVar[str] = "none"
    needs: ClassVar[frozenset] = frozenset()
    scheduled: ClassVar[frozenset] = frozenset()
    claims: ClassVar[frozenset] = frozenset()


@dataclass(frozen=True)
class Nan(Method):
    def __call__(self, batch):
        worth = torch.full((batch.num_steps,), torch.nan)
        return Credit(ops.spread_steps(worth, batch.tokens.step_of_token), may_zero_steps=True)


@dataclass(frozen=True)
class Shape(Method):
    def __call__(self, batch):
        return Credit(torch.zeros(batch.num_steps))


@dataclass(frozen=True)
class Raises(Method):
    def __call__(self, batch):
        return {}["credit"]


@dataclass(frozen=True)
class Bare(Method):
    def __call__(self, batch):
        return batch.tokens.old_logprobs


for name in (Nan, Shape, Raises, Bare):
    credit.register(f"faulty_{name.__name__.lower()}", f"someones_faulty:{name.__name__}")
"""


def test_a_faulty_method_is_left_out_and_named_and_the_others_are_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Values that are not finite rank nothing: they are refused, not counted as an AUC of 0."""
    folder = tmp_path / "games"
    record(folder, *GAMES, "--env.oracle=true")
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    (tmp_path / "someones_faulty.py").write_text(FAULTY)
    monkeypatch.syspath_prepend(str(tmp_path))
    faulty = [f"someones_faulty:faulty_{name}" for name in ("nan", "shape", "raises", "bare")]
    result = tmp_path / "found.json"
    assert run("credit", "compare", str(folder), "--method", "grpo", *faulty, f"--json={result}") == 0
    found = json.loads(result.read_text())
    assert set(found["methods"]) == {"grpo"} and set(found["left_out"]) == set(faulty)
    nan, shape, raises, bare = (found["left_out"][name] for name in faulty)
    assert "not finite" in nan and "shape" in shape
    assert raises.startswith("KeyError: 'credit' (someones_faulty.py, line ") and "a Tensor" in bare
    capsys.readouterr()
    assert run("credit", "compare", str(folder), "--method", faulty[0]) == 2
    assert f"{faulty[0]}: " in capsys.readouterr().err
    message = refusal(capsys, "credit", "compare", str(folder), "--method", "someones_faulty:Nan")
    assert "no credit method 'Nan': module 'someones_faulty' registers faulty_bare, " in message


def test_credit_compare_says_what_outcomes_leave_unsaid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody wins: no column of groups with both outcomes, and the reason why methods are at 0.5."""
    folder = tmp_path / "games"
    record(folder, *GAMES, "--env.oracle=true")
    capsys.readouterr()
    assert run("credit", "compare", str(folder), "--group_by=task", "--method", "path_gain") == 0
    out = capsys.readouterr().out
    assert "no group has both outcomes" in out and "AUC won" not in out
    heads = next(line for line in out.splitlines() if "AUC" in line)
    assert "AUC all lost" in heads and " harm " in heads and "[rare kind of command]" in out
    assert "failed" not in out.partition("left out")[0]  # the words of the pages: lost, all lost, harm


def test_credit_compare_says_that_one_task_has_no_intervals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bootstrap over one task draws it each time: every interval is a point, as if nothing were unsure."""
    for games, said in ((1, True), (2, False)):
        folder = tmp_path / str(games)
        record(folder, *GAMES, f"--env.num_games={games}", "--env.oracle=true")
        capsys.readouterr()
        assert run("credit", "compare", str(folder), "--group_by=task", "--method", "grpo") == 0
        assert ("all attempts are at one task: the intervals" in capsys.readouterr().out) == said


def test_distances_by_replay_are_those_of_the_recorder(tmp_path: Path) -> None:
    """The same games, recorded with and without distances."""
    results = []
    for told in ("true", "false"):
        folder, result = tmp_path / told, tmp_path / f"{told}.json"
        record(folder, *GAMES, f"--env.oracle={told}")
        arguments = ["--method", "path_gain", "grpo", "--replay", f"--json={result}"]
        assert run("credit", "compare", str(folder), *arguments) == 0
        results.append(json.loads(result.read_text()))
    kept = [{name: {**row, "cpu_s": 0} for name, row in one["methods"].items()} for one in results]
    assert kept[0] == kept[1] and results[0]["controls"] == results[1]["controls"]


@pytest.mark.samples
def test_credit_compare_with_a_model_judges_teachers(tmp_path: Path) -> None:
    """The model reads the texts of another agent; what it read is counted."""
    model, folder, result = tmp_path / "model", tmp_path / "games", tmp_path / "found.json"
    taught().save(model)
    record(folder, *GAMES, "--env.oracle=true")
    settings = ["--rollout.max_tokens=12", f"--model.path={model}", "--hindsight.max_peer_tokens=48"]
    chosen = ["--method", "step_opsd", "graph_hca", "igpo", "--group_by=task", f"--json={result}"]
    assert run("credit", "compare", str(folder), *TINY, *settings, *chosen) == 0
    found = json.loads(result.read_text())
    assert found["methods"]["step_opsd"]["tokens"] > 0 == found["methods"]["graph_hca, text keys"]["tokens"]
    assert "student's log-probability" in found["controls"] and "igpo" in found["left_out"]


@pytest.mark.samples
def test_credit_of_searches_reads_hindsight_of_gold_answers(tmp_path: Path) -> None:
    """They are those of the environment in the records, which no setting has to name."""
    model, folder, result = tmp_path / "model", tmp_path / "searches", tmp_path / "found.json"
    taught().save(model)
    searches = ["--env.id=stepopsd/SearchQA-v0", "--env.num_questions=2", "--env.max_turns=3"]
    assert run("record", "--agent=random", "--episodes=4", "--out", str(folder), *searches) == 0
    settings = ["--rollout.max_tokens=12", "--rollout.max_row_tokens=2048", f"--model.path={model}"]
    settings += ["--hindsight.mode=gold", "--group_by=task"]
    chosen = ["--method", "step_opsd", "igpo", f"--json={result}"]
    assert run("credit", "compare", str(folder), *settings, *chosen) == 0
    found = json.loads(result.read_text())
    assert {"step_opsd", "igpo"} <= set(found["methods"]) and not found["left_out"]
    assert run("credit", "score", str(folder), *settings, "--credit.method=step_opsd") == 0


def test_credit_compare_refuses_what_it_cannot_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line that says what to do instead."""
    folder = tmp_path / "games"
    record(folder, *GAMES, "--env.oracle=true")
    refused = {
        (): "credit compare needs the episodes: stepopsd credit compare FOLDER",
        (str(tmp_path / "nowhere"),): "there is no such folder",
        (str(folder), "--method", "gpro"): "no credit method 'gpro'",
        (str(folder), "--method", "path_gain", "idle_cost=0.3"): '"path_gain idle_cost=0.3"',
        (str(folder), "--method", "grpo gama=1"): "has no field gama",
        (str(folder), "--method", "grpo std"): "write field=value",
        (str(folder), "--method", "turn_gae"): "turn_gae: needs value, which only a run can compute",
    }
    for arguments, message in refused.items():
        capsys.readouterr()
        assert run("credit", "compare", *arguments) == 2
        err = capsys.readouterr().err
        assert message in err.splitlines()[-1] and err.splitlines()[-1].startswith("stepopsd: error: ")
