"""``stepopsd credit``: the methods with their papers, and credit on the records of any agent."""

import json
from pathlib import Path
from typing import Any

import pytest

from stepopsd_agent import credit
from stepopsd_agent.cli.main import parse
from stepopsd_agent.run.scored_records import grouped
from stepopsd_wrappers import read_episodes
from tests.agent.batch.test_batch import episode, two_steps
from tests.helpers.command_line import TINY, record, refusal, run
from tests.helpers.runs import draw_until, taught, train_arguments

GAMES = ["--env.num_games=2", "--env.step_limit=6"]


def lines(path: Path) -> list[dict[str, Any]]:
    """The records of a credit file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_credit_list_names_every_method_with_its_paper(capsys: pytest.CaptureFixture[str]) -> None:
    """And what each needs, and its settings."""
    assert run("credit", "list") == 0
    text = capsys.readouterr().out
    for name in credit.names():
        assert f"\n{name}: " in f"\n{text}" and credit.make(name).paper in text
    assert "needs: student_logprobs, teacher_logprobs" in text and "lambda_mix=0.2" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["score", "games", "--method", "path_gain"], "score does not read --method; it has --group_by, "),
        (["score", "games", "--replay"], "score does not read --replay; "),
        (["compare", "games", "--out=x.json"], "compare does not read --out; it has --group_by, --method"),
        (["compare", "games", "--credit.method=grpo"], "compare does not read --credit.method; "),
        (["compare", "games", "--credit.lambda_mix", "0.1"], "compare does not read --credit.lambda_mix; "),
        (["list", "--json=x.json"], "list does not read --json; it takes nothing"),
        (["list", "games"], "list takes no folder, and got games"),
    ],
)
def test_credit_refuses_a_flag_of_another_action(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would change nothing: `score --method grpo` would compute another method than grpo."""
    assert said in refusal(capsys, "credit", *arguments)


def test_credit_score_finds_out_first_whether_it_can_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before it asks for the model that the method needs."""
    folder, beneath = tmp_path / "games", tmp_path / "file" / "credit.jsonl"
    record(folder, "--agent=random", "--episodes=2", *GAMES)
    (tmp_path / "file").touch()
    line = refusal(
        capsys, "credit", "score", str(folder), "--credit.method=step_opsd", *GAMES, f"--out={beneath}"
    )
    assert f"cannot write {beneath}: Not a directory" in line


def test_credit_score_takes_the_records_of_any_agent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A random agent has no tokens: one per step. Each return minus the mean of the attempts at its game."""
    folder = tmp_path / "games"
    record(folder, "--agent=random", "--episodes=4", *GAMES)
    capsys.readouterr()
    assert run("credit", "score", str(folder), "--credit.method=dr_grpo", "--group_by=task") == 0
    out = capsys.readouterr().out
    assert " of them with credit\n" in out
    assert out.startswith("dr_grpo: 4 episodes, ") and out.endswith(
        f"written to {folder}/credit-dr_grpo.jsonl\n"
    )
    scored = lines(folder / "credit-dr_grpo.jsonl")
    assert [one["schema"] for one in scored] == ["stepopsd.credit/1"] * 4
    assert scored[0]["method"] == {"name": "dr_grpo", "baseline": "episode"}
    for task in {one["task_id"] for one in scored}:
        same = [one for one in scored if one["task_id"] == task]
        mean = sum(one["episode_return"] for one in same) / len(same)
        for one in same:
            assert {step["credit"] for step in one["steps"]} == {one["episode_return"] - mean}
    assert {(one["group"], one["member"]) for one in scored} == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_credit_score_knows_distances_and_says_who_is_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The upper bound on recorded distances; as recorded, every attempt of `record` is its own group."""
    folder = tmp_path / "games"
    record(folder, "--agent=random", "--episodes=2", "--env.oracle=true", *GAMES)
    capsys.readouterr()
    assert run("credit", "score", str(folder), "--credit.method=oracle", f"--out={tmp_path / 'o.jsonl'}") == 0
    assert "2 episodes are alone in their group" in capsys.readouterr().out
    steps = [step["credit"] for one in lines(tmp_path / "o.jsonl") for step in one["steps"]]
    assert len(set(steps)) > 1


def test_credit_score_reads_the_world_off_the_texts_without_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An expert's attempts at one task: its steps on the way have credit, and no policy is loaded."""
    folder = tmp_path / "games"
    one = ["--env.num_games=1", *GAMES]
    record(folder, "--agent=expert", "--episodes=3", *one)
    capsys.readouterr()
    chosen = ["--credit.method=path_gain", "--group_by=task", "--model.path=nowhere/at-all"]
    assert run("credit", "score", str(folder), *chosen, f"--out={tmp_path / 'p.jsonl'}") == 0
    steps = [step["credit"] for episode in lines(tmp_path / "p.jsonl") for step in episode["steps"]]
    assert len(steps) > 3 and len({round(value, 6) for value in steps}) > 1


@pytest.mark.samples
@pytest.mark.parametrize("agent", ["model", "random"])
def test_credit_score_asks_a_model_what_a_teacher_thinks(
    agent: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of its own records token by token, of others' in its own tokens of their texts."""
    model = tmp_path / "model"
    taught().save(model)
    settings = ["--rollout.max_tokens=12", f"--model.path={model}"]

    def recorded(number: int) -> Path:
        folder = tmp_path / f"games-{number}"
        seed = {"model": number, "random": 72 + number}[agent]  # chance alone wins with seed 75
        more = [f"--seed={seed}", "--env.num_games=1", "--env.step_limit=10", "--eval.temperature=1"]
        record(folder, f"--agent={agent}", "--episodes=4", *more, *settings)
        return folder

    folder = draw_until(recorded, lambda folder: {e.success for e in read_episodes(folder)} == {True, False})
    arguments = ["--credit.method=step_opsd", "--credit.step_norm=none", "--group_by=task", *settings]
    assert run("credit", "score", str(folder), *TINY, *arguments) == 0
    scored = lines(folder / "credit-step_opsd.jsonl")
    for one in scored:
        tokens = [value for step in one["steps"] for value in step["tokens"]]
        assert len(tokens) > len(one["steps"])
        assert all(
            abs(step["credit"] - sum(step["tokens"]) / len(step["tokens"])) < 1e-9 for step in one["steps"]
        )
        assert all(len(step["gap"]) == len(step["tokens"]) for step in one["steps"])
    assert any(len({round(v, 9) for step in one["steps"] for v in step["tokens"]}) > 1 for one in scored)


@pytest.mark.samples
def test_credit_score_says_what_is_not_in_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whole distributions are compared in a run; on records of sampled tokens there is no credit to see."""
    model, folder = tmp_path / "model", tmp_path / "games"
    taught().save(model)
    settings = ["--rollout.max_tokens=12", f"--model.path={model}"]
    record(folder, "--agent=random", "--episodes=2", *GAMES)
    capsys.readouterr()
    assert run("credit", "score", str(folder), *TINY, "--credit.method=opsd", *settings) == 0
    out = capsys.readouterr().out
    assert ", 0 of them with credit" in out and "its further loss (distillation)" in out
    flag, out = "--credit.objective=sampled", f"--out={tmp_path / 'sampled.jsonl'}"
    assert run("credit", "score", str(folder), *TINY, "--credit.method=opsd", flag, out, *settings) == 0
    assert "further loss" not in capsys.readouterr().out


def test_credit_score_writes_over_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither what it wrote before nor another file."""
    folder = tmp_path / "games"
    record(folder, "--agent=random", "--episodes=2", *GAMES)
    score = ("score", str(folder), "--credit.method=grpo")
    assert run("credit", *score) == 0
    before = (folder / "credit-grpo.jsonl").read_bytes()
    assert "credit-grpo.jsonl is there already; name another file" in refusal(capsys, "credit", *score)
    assert (folder / "credit-grpo.jsonl").read_bytes() == before
    (tmp_path / "notes").write_text("mine")
    assert "is there already" in refusal(capsys, "credit", *score, f"--out={tmp_path / 'notes'}")


def test_credit_score_of_a_run_reads_its_config(tmp_path: Path) -> None:
    """With the run's method, or another one, to which the run's fields do not matter; a named file wins."""
    folder = tmp_path / "run"
    record(folder / "episodes", "--agent=random", "--episodes=2", *GAMES)
    run_s = "credit:\n  method: step_opsd\n  lambda_mix: 0.3\nenv:\n  response: tags\n"
    (folder / "config.yaml").write_text(run_s)
    for name in (folder, folder / "episodes"):
        settings = parse(["credit", "score", str(name)])["credit"]
        assert (settings.credit.lambda_mix, settings.env.response) == (0.3, "tags")
        settings = parse(["credit", "score", str(name), "--credit.method=grpo", "--seed=3"])["credit"]
        assert (settings.credit.method, settings.env.response, settings.seed) == ("grpo", "tags", 3)
    (tmp_path / "own.yaml").write_text("seed: 4\n")
    settings = parse(["credit", "score", str(folder), "--config", str(tmp_path / "own.yaml")])["credit"]
    assert (settings.seed, settings.env.response) == (4, "plain")
    assert run("credit", "score", str(folder), "--credit.method=grpo") == 0
    assert (folder / "episodes" / "credit-grpo.jsonl").is_file()


def test_credit_score_refuses_what_it_cannot_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line that says what to do instead."""
    folder = tmp_path / "games"
    record(folder, "--agent=random", "--episodes=2", *GAMES)
    capsys.readouterr()
    refused = {
        ("score",): "needs the episodes: stepopsd credit score FOLDER",
        ("score", str(folder), "--credit.method=vine"): "needs mc_value, which only a run can compute",
        ("score", str(folder), "--credit.method=oracle"): "set env.oracle to true",
        ("score", str(folder), "--credit.method=sdar"): "model.path is 'tiny', a fresh model",
        ("score", str(tmp_path / "nowhere"), "--credit.method=grpo"): "there is no such folder",
        ("guess",): "give list, score or compare",
    }
    for arguments, message in refused.items():
        assert message in refusal(capsys, "credit", *arguments)


@pytest.mark.samples
def test_train_says_what_a_method_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Distances are told with env.oracle alone: one line and exit code 2."""
    model = tmp_path / "model"
    taught().save(model)
    capsys.readouterr()
    assert run(*train_arguments(model, tmp_path / "run", "--updates=1", "--credit.method=oracle")) == 2
    assert "which the records do not tell: set env.oracle to true" in capsys.readouterr().err


def test_grouped_keeps_updates_apart_or_puts_tasks_together() -> None:
    """Batches of one update each; or one batch with a group per task, its members numbered."""
    played = [two_steps(update=0), two_steps(update=1), episode(None, update=1, task_id="other", group=1)]
    assert [[e.update for e in part] for part in grouped(played, "recorded")] == [[0], [1, 1]]
    (part,) = grouped(played, "task")
    assert [(e.task_id, e.group, e.member) for e in part] == [("task", 0, 0), ("task", 0, 1), ("other", 1, 0)]
