"""``stepopsd eval`` with agents of one's own, and going on where an evaluation was left."""

import json
from pathlib import Path

import pytest

from stepopsd_envs.alfworld.export import export_games
from stepopsd_envs.alfworld.generator import generate_game
from stepopsd_wrappers import read_episodes
from tests.helpers.command_line import refusal, run

TINY = ["--env.tier=tiny", "--env.step_limit=8", "--eval.num_games=6"]
SOURCE = """
import os
from pathlib import Path

class Waiting:
    '''Waits for a file that says there is a server.'''

    def __init__(self):
        self.turns = 0

    def reset(self, seed, observation, info):
        self.seed = seed

    def act(self, observation, info):
        if self.seed % 2 and not Path(os.environ["SERVER_OF_A_TEST"]).exists():
            raise TimeoutError("no answer within 1 s")
        if self.seed % 4 == 2 and Path(os.environ["SERVER_OF_A_TEST"] + ".stop").exists():
            raise KeyboardInterrupt
        commands = info["admissible_commands"]
        return commands[(self.seed + info["step"]["index"]) % len(commands)]

class Down(Waiting):
    def act(self, observation, info):
        raise ConnectionError("connection refused")
"""


@pytest.fixture(autouse=True)
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the agents wait for, not there yet; and their module, on the path."""
    (tmp_path / "waiting_of_a_test.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SERVER_OF_A_TEST", str(tmp_path / "server"))
    return tmp_path / "server"


def test_eval_goes_on_after_an_agent_s_errors_and_plays_them_again(
    server: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was played stays; the result is that of an evaluation in which nothing failed."""
    out, whole = tmp_path / "out", tmp_path / "whole"
    assert run("eval", "--agent=waiting_of_a_test:Waiting", *TINY, f"--out={out}") == 0
    printed = capsys.readouterr().out
    assert "3 more episodes ended in an error and are not counted" in printed
    assert f"; play them again with: stepopsd eval --resume {out}\n" in printed
    assert "TimeoutError: no answer within 1 s" in printed.splitlines()[-2]
    assert json.loads((out / "evaluation.json").read_text())["errors"] == 3
    assert run("replay", str(out)) == 0
    server.touch()
    assert run("eval", f"--resume={out}") == 0
    assert run("eval", "--agent=waiting_of_a_test:Waiting", *TINY, f"--out={whole}") == 0
    resumed, at_once = (json.loads((folder / "evaluation.json").read_text()) for folder in (out, whole))
    assert resumed == at_once and resumed["n"] == 6
    episodes = list(read_episodes(out / "episodes"))
    assert [episode.failed for episode in episodes].count(True) == 3 and len(episodes) == 9
    assert run("eval", f"--resume={out}") == 0  # nothing is left to play
    assert len(list(read_episodes(out / "episodes"))) == 9


def test_a_set_in_which_every_episode_failed_has_no_part_in_the_mean_of_the_sets(
    server: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its rate is not 0: there is none."""
    (tmp_path / "failing_of_a_test.py").write_text(
        "class Agent:\n"
        "    def reset(self, seed, observation, info):\n"
        "        self.task = observation\n"
        "    def act(self, observation, info):\n"
        "        if 'other' in self.task:\n"
        "            raise RuntimeError('no answer')\n"
        "        return '<answer>Ada</answer>'\n",
        encoding="utf-8",
    )
    for name in ("one", "other"):
        row = {"id": name, "question": f"Who wrote the {name}?", "golden_answers": ["Ada"]}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    sets = json.dumps([str(tmp_path / f"{name}.jsonl") for name in ("one", "other")])
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(json.dumps({"id": "1", "contents": "Ada wrote both."}) + "\n", encoding="utf-8")
    flags = ["--env.id=stepopsd/SearchQA-v0", f"--env.corpus={corpus}", f"--eval.questions={sets}"]
    assert run("eval", "--agent=failing_of_a_test:Agent", *flags) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "mean of 1 of the 2 sets: 100.0%" in lines
    assert next(line for line in lines if line.startswith("other")).split() == ["other", "-", "-", "0", "1"]


def test_eval_that_was_stopped_goes_on(
    server: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By Ctrl-C, or by an agent that only fails; the message says how."""
    out, stop = tmp_path / "out", tmp_path / "server.stop"
    server.touch()
    stop.touch()
    assert run("eval", "--agent=waiting_of_a_test:Waiting", *TINY, f"--out={out}") == 1
    assert (
        f"stopped; what was written is kept: go on with: stepopsd eval --resume {out}"
        in capsys.readouterr().err
    )
    assert len(list(read_episodes(out / "episodes"))) == 2
    stop.unlink()
    assert run("eval", f"--resume={out}") == 0
    assert sorted(episode.group for episode in read_episodes(out / "episodes")) == list(range(6))
    down = ["--agent=waiting_of_a_test:Down", "--env.tier=tiny", "--eval.num_games=30"]
    assert run("eval", *down, f"--out={tmp_path / 'down'}") == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert (
        "the agent failed 20 times in a row, the last time with ConnectionError: connection refused" in line
    )
    assert line.endswith(f"then go on with: stepopsd eval --resume {tmp_path / 'down'}")


def test_eval_refuses_what_it_cannot_go_on_with(
    server: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each in one line; an agent that is not there is refused before anything is written."""
    out = tmp_path / "out"
    line = refusal(capsys, "eval", "--agent=nowhere_of_a_test:Agent", *TINY, f"--out={out}")
    assert "there is no module 'nowhere_of_a_test'" in line and not out.exists()
    assert "there is no folder" in refusal(capsys, "eval", f"--resume={out}")
    assert "leave out the other flags" in refusal(capsys, "eval", f"--resume={out}", "--seed=3")
    assert run("eval", "--agent=random", *TINY, f"--out={out}") == 0
    monkeypatch.setattr("stepopsd_envs.alfworld.versions.NATIVE_VERSION", 2)
    assert "played on data" in refusal(capsys, "eval", f"--resume={out}").replace("\n", " ")


def test_eval_says_what_it_leaves_out_of_a_split(
    official_games: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A part of a split is named as such and has all types; more than there is is refused."""
    out = tmp_path / "out"
    flags = ["eval", "--agent=random", f"--env.data_root={official_games}", "--env.step_limit=1"]
    games = ["--eval.games=valid_seen", "--env.num_games=1"]
    assert run(*flags, *games, "--eval.num_games=6", f"--out={out}") == 0
    notice = "stepopsd: notice: evaluation plays 6 of the 140 tasks of valid_seen, evenly over task types"
    assert notice in capsys.readouterr().err
    assert len(json.loads((out / "evaluation.json").read_text())["by_task_type"]) == 6
    line = refusal(capsys, *flags, *games, "--eval.num_games=141", f"--out={tmp_path / 'more'}")
    assert "evaluation on valid_seen: 141 of 140 tasks are asked for; give at most 140" in line
    assert not (tmp_path / "more").exists()


def test_eval_in_which_nothing_was_played_says_why_and_ends_with_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No success can be told of no episode; the agent's own error is what its author needs."""
    assert run("eval", "--agent=waiting_of_a_test:Down", *TINY) == 1
    assert "ConnectionError: connection refused" in capsys.readouterr().out


def test_eval_plays_every_task_with_several_sampling_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first attempts are those of a single seed; the interval is over tasks, and resuming keeps both."""
    one, three = tmp_path / "one", tmp_path / "three"
    assert run("eval", "--agent=random", *TINY, f"--out={one}") == 0
    assert run("eval", "--agent=random", *TINY, "--eval.seeds=3", f"--out={three}") == 0
    single, several = (list(read_episodes(folder / "episodes")) for folder in (one, three))
    assert several[:6] == single and len(several) == 18
    for task in range(6):
        attempts = several[task::6]
        assert len({episode.task_id for episode in attempts}) == 1
        assert [episode.member for episode in attempts] == [0, 1, 2]
        assert len({tuple(step.action for step in episode.steps) for episode in attempts}) > 1
    table = json.loads((three / "evaluation.json").read_text())
    assert (table["n"], table["tasks"]) == (18, 6)
    assert run("eval", f"--resume={three}") == 0
    assert json.loads((three / "evaluation.json").read_text()) == table
    assert "18/18" in capsys.readouterr().err


def test_eval_says_that_it_does_not_follow_the_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five evaluations with five of them would be one, played five times."""
    assert run("eval", "--agent=random", *TINY, "--seed=3", f"--out={tmp_path / 'out'}") == 0
    assert "give --eval.seeds N" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"schema": "stepopsd.evaluation/1"}'])
def test_eval_names_the_file_that_it_cannot_resume_from(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk may have left it so."""
    (tmp_path / "evaluation.json").write_text(content)
    assert "evaluation.json is not as eval wrote it" in refusal(capsys, "eval", f"--resume={tmp_path}")


def test_record_says_how_many_episodes_ended_in_an_error(
    server: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In its last line, and nothing of it where none did."""
    command = ["record", "--agent=waiting_of_a_test:Waiting", "--env.tier=tiny", "--episodes=6"]
    assert run(*command, f"--out={tmp_path / 'some'}") == 0
    said, records = capsys.readouterr().out, read_episodes(tmp_path / "some")
    failed = sum(episode.failed for episode in records)
    assert 0 < failed < 6 and f" won, {failed} ended in an error, in " in said
    server.touch()
    assert run(*command, f"--out={tmp_path / 'none'}") == 0
    assert "error" not in capsys.readouterr().out


def test_eval_says_that_it_does_not_play_what_training_plays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Or the success on other games is taken for that on the games named."""
    mine = tmp_path / "mine"
    list(export_games([generate_game("tiny", "train", number) for number in range(6)], mine))
    games = f"--env.games={mine}"
    assert run("eval", "--agent=random", *TINY, games) == 0
    notice = capsys.readouterr().err
    assert "this plays eval.games, which is generated, and not env.games" in notice
    assert f"give --eval.games {mine}\n" in notice
    assert run("eval", "--agent=random", *TINY, games, f"--eval.games={mine}") == 0
    assert "notice: this plays" not in capsys.readouterr().err


def test_eval_and_record_of_errors_alone_say_which(
    server: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And not that nothing of nothing succeeded."""
    assert run("eval", "--agent=waiting_of_a_test:Down", *TINY) == 1
    printed = capsys.readouterr().out
    assert "Down agent: no success to report: all 6 games ended in an error\n" in printed
    assert "0.0%" not in printed and "6 episodes ended in an error and are not counted\n" in printed
    out = f"--out={tmp_path / 'records'}"
    assert run("record", "--agent=waiting_of_a_test:Down", "--env.tier=tiny", "--episodes=2", out) == 0
    assert "ConnectionError: connection refused" in capsys.readouterr().out.splitlines()[-1]


def test_eval_into_its_own_folder_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever repeats the command may have meant that."""
    command = ["eval", "--agent=random", *TINY, f"--out={tmp_path / 'out'}"]
    assert run(*command) == 0
    assert f"or continue it with: stepopsd eval --resume {tmp_path / 'out'}" in refusal(capsys, *command)
