"""Flags and methods that there are not: the error names those that may have been meant."""

from pathlib import Path

import pytest

from tests.helpers.command_line import record, refusal, run


@pytest.mark.parametrize(
    ("flags", "meant"),
    [
        (["--learner.lrr=1"], "--learner.lrr=1; did you mean --learner.lr?"),
        (["--lora.rank=1"], "did you mean --learner.lora.rank?"),
        (["--num_games", "6"], "did you mean --env.num_games or --eval.num_games?"),
        (["--credit.lambda_mx", "0.1"], "did you mean --credit.lambda_mix?"),
        (["--credit.method=step_opds"], "no credit method 'step_opds': did you mean 'step_opsd'?"),
    ],
)
def test_cli_names_what_may_have_been_meant(
    flags: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A section that was left out, or a letter."""
    assert meant in refusal(capsys, "train", *flags)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("update: 3", "the config file sets update, which is no setting; did you mean updates?"),
        ("leraner: {lr: 0.1}", "sets leraner.lr, which is no setting; did you mean learner.lr?"),
        ("learner: {muonlr: 0.1}", "did you mean learner.muon_lr?"),
        ("learner: {learning_rate: 0.1}", "which is no setting; there are learner.lr, learner.muon_lr, "),
        ("num_games: 6", "did you mean env.num_games or eval.num_games?"),
        ("credit: {method: grpo, lambda_mx: 0.1}", "there are credit.method, credit.baseline, "),
        ("xyzzy: 6", "sets xyzzy, which is no setting (see stepopsd train --help-all)"),
    ],
)
def test_cli_names_the_setting_of_a_file_that_there_is_not(
    content: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is near in its section, else all of the section."""
    (tmp_path / "own.yaml").write_text(content)
    assert said in refusal(capsys, "train", f"--config={tmp_path / 'own.yaml'}")


def test_cli_guesses_nothing_where_nothing_is_near(capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong hint is worse than none."""
    assert "did you mean" not in refusal(capsys, "train", "--xyzzy=1")


QA = ["eval", "--agent=random", "--env.id=stepopsd/SearchQA-v0"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trian"], "command is 'trian': did you mean 'train'? give check-model, "),
        (["check_model", "x"], "did you mean 'check-model'?"),
        (["config", "shwo"], "action is 'shwo': did you mean 'show'? give list, show or copy"),
        (["config", "show", "alfworld_quickstrat"], "did you mean 'alfworld_quickstart'? give alfworld_off"),
        (["doctor", "--for=trian"], "--for is 'trian': did you mean 'train'? give train, gpu, "),
        (["train", "--config=alfworld_quickstrat"], "did you mean 'alfworld_quickstart'? the recipes are "),
        (["train", "--config", "Alfworld_Quickstart"], "did you mean 'alfworld_quickstart'?"),
        (["train", "--env.tier=tny"], "env.tier: got tny; did you mean 'tiny'? give tiny, small or full"),
        (["train", "--tracking=wandbb"], "tracking is 'wandbb'; did you mean 'wandb'? give one or more of"),
        (["sweep", "--grid=credit.metod=grpo", "--out=x"], "grid has credit.metod: unrecognized"),
        (["sweep", "--grid=credit.metod=grpo", "--out=x"], "did you mean --credit.method?"),
        (["sweep", "--grid=lr=1e-4,1e-3", "--out=x"], "did you mean --learner.lr or --critic.lr?"),
        (["train", "alfworld_quickstart", "--out=x"], "did you mean --config alfworld_quickstart?"),
        (["eval", "own.yaml"], "unrecognized arguments: own.yaml; did you mean --config own.yaml?"),
        (["eval", "--agent=examples/own.py"], "with PYTHONPATH=examples, and give --agent own:Class"),
        (["eval", "--agent=randm"], "agent is 'randm': did you mean 'random'? stepopsd/ALFWorld-v0 has"),
        (
            ["eval", "--agent=random", "--eval.games=valid_sen"],
            "did you mean 'valid_seen'? searched valid_sen.",
        ),
        (["eval", "--agent=random", "--eval.task_types=[look_at]"], "did you mean 'look_at_obj_in_light'?"),
        ([*QA, "--eval.questions=hotpotq"], "did you mean 'hotpotqa'? give 'synthetic', a file"),
        ([*QA, "--env.retriever=bm2"], "did you mean 'bm25'? give one of bm25, "),
        ([*QA, "--eval.task_types=[2hop]"], "task_types has '2hop': did you mean '2-hop'? give None or"),
    ],
)
def test_cli_names_the_nearest_of_all_kinds_of_names(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Commands, recipes, choices, grid keys, agents, splits, question sets, retrievers, task types."""
    assert said in refusal(capsys, *arguments)


@pytest.mark.parametrize("command", ["compare", "replay", "export", "train"])
def test_cli_usage_is_a_line_that_can_be_typed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing stands between the program and the command."""
    assert run(command, "--help") == 0
    assert capsys.readouterr().out.startswith(f"usage: stepopsd {command} ")
    assert f"(see stepopsd {command} --help)" in refusal(
        capsys, command, "--xyzzy=1", "x", "--to=sft", "--out=x"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["record", "--agent=expert", "--env.id=.mine:id"],
        ["train", "--credit.method=.mine:name"],
        ["train", "--credit.method=a..b:name"],
        ["replay", "games", "--module=.mine"],
        ["replay", "games", "--module="],
    ],
)
def test_cli_refuses_what_no_module_can_be_named(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line that says how to name one."""
    monkeypatch.chdir(tmp_path)
    record(tmp_path / "games")
    line = refusal(capsys, *arguments)
    assert "there is no module" in line and "as Python's import would, such as package.module" in line
