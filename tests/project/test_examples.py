"""The examples run: in short, with a small model, as a user would start them."""

import importlib
import inspect
import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import gymnasium as gym
import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.batch import batch as tables, declaring
from stepopsd_agent.config import config_from_dict
from stepopsd_agent.credit import registry as methods
from stepopsd_agent.models import Scorer
from stepopsd_agent.run.files import read_rows
from stepopsd_agent.tasks import (
    constructor_settings,
    evaluation_sets,
    make_plain_env,
    registry,
    task_ids,
    worlds_of,
)
from stepopsd_envs.testing import check_text_env
from stepopsd_wrappers import EpisodeFormatError, RecordEpisode
from tests.agent.learner.test_learner import batch_for
from tests.helpers.command_line import refusal, run
from tests.helpers.models import tiny
from tests.helpers.runs import stepopsd
from tests.helpers.snippets import shortened

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
GUESS = "own_environment:own/GuessNumber-v0"


def loop(text: str) -> str:
    """The training loop of a page or file, from its first import on."""
    found = re.search(
        r"^import gymnasium as gym\n(?:(?!```).*\n)*?.*learner\.update\(.*\n", text, re.MULTILINE
    )
    assert found is not None
    return re.sub(r"  # .*", "", found.group())


def test_custom_loop_of_the_readme_is_the_example() -> None:
    """One loop at two places."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    readme = readme[readme.index("## Your own training loop") :]
    assert loop(readme) == loop((EXAMPLES / "custom_loop.py").read_text(encoding="utf-8"))


@pytest.mark.samples
def test_custom_loop_updates_the_policy(
    taught_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As written, but for fewer and shorter episodes of the one game that the model knows."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "warm").symlink_to(taught_model)
    monkeypatch.chdir(tmp_path)
    code = shortened((EXAMPLES / "custom_loop.py").read_text(encoding="utf-8"))
    exec(compile(code, "custom_loop.py", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all("grad_norm" in line and "kl" in line for line in lines)


def test_own_agent_is_evaluated_and_recorded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the commands of the example's first lines, in short, and by itself."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    out, flags = tmp_path / "out", ["--agent=own_agent:Wanderer", "--env.tier=tiny", "--env.step_limit=5"]
    assert run("eval", *flags, "--eval.num_games=3", f"--out={out}") == 0
    assert "own_agent:Wanderer agent: success" in capsys.readouterr().out
    assert run("record", *flags, "--episodes=2", f"--out={tmp_path / 'records'}") == 0
    assert run("replay", str(out)) == 0
    runpy.run_path(str(EXAMPLES / "own_agent.py"), run_name="__main__")
    assert "of 20 games" in capsys.readouterr().out
    sys.modules.pop("own_agent", None)


def test_gym_loop_records_what_it_plays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And its last line is a command that shows it."""
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / "gym_loop.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("step ") for line in lines) > 30
    assert run(*lines[-1].rpartition("stepopsd ")[2].split()) == 0
    assert "put two toiletpaper in shelf." in capsys.readouterr().out


def test_view_episodes_writes_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the credit of both methods."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(EXAMPLES / "view_episodes.py"), run_name="__main__")
    assert ended.value.code == 0
    page = (tmp_path / "runs" / "view" / "page.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "path_gain" in page


def test_own_retriever_is_searched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The best passage first, nothing where nothing matches; a record cannot hold the object, and says so."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    runpy.run_path(str(EXAMPLES / "own_retriever.py"), run_name="__main__")
    assert 'Doc 1(Title: "Old Mill")' in capsys.readouterr().out
    retriever = runpy.run_path(str(EXAMPLES / "own_retriever.py"))["SharedWords"]()
    first, nothing = retriever.search(["the aune river", "xyzzy"], 1)
    assert [passage.id for passage in first] == ["aune"] and nothing == []
    with pytest.raises(EpisodeFormatError, match=r"retriever: got .*SharedWords.* named by its address"):
        RecordEpisode(gym.make("stepopsd/SearchQA-v0", retriever=retriever, tier="tiny"))


def test_own_retriever_serves_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What they record replays; the passages are the example's."""
    pytest.importorskip("uvicorn", reason="the extra search is not installed")
    pytest.importorskip("fastapi", reason="the extra search is not installed")
    code = (EXAMPLES / "own_retriever.py").read_text(encoding="utf-8").replace("8000, Limits", "0, Limits")
    (tmp_path / "served.py").write_text(code, encoding="utf-8")
    start = [sys.executable, str(tmp_path / "served.py"), "--serve"]
    with subprocess.Popen(start, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split()[1]
        flags = ["--env.id=stepopsd/SearchQA-v0", f"--env.retriever={address}", "--env.tier=tiny"]
        out = f"--out={tmp_path / 'records'}"
        assert run("record", *flags, "--agent=random", "--episodes=8", out) == 0
        assert run("replay", str(tmp_path / "records")) == 0
        server.terminate()
    assert server.returncode == 0 and "8/8 episodes replay identically" in capsys.readouterr().out


@pytest.fixture
def own_credit_method(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The example, imported; credit methods and columns are as before afterwards."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(methods, "_ENTRIES", dict(methods._ENTRIES))
    monkeypatch.setattr(declaring, "OWN", dict(declaring.OWN))
    monkeypatch.setattr(tables, "OWN", declaring.OWN)
    yield importlib.import_module("own_credit_method")
    sys.modules.pop("own_credit_method", None)


@pytest.mark.repeats
@pytest.mark.samples
def test_own_credit_method_is_trained_and_compared(
    own_credit_method: ModuleType, taught_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the commands of its first lines, in short: its column is computed where it is needed."""
    flags = ["--env.tier=tiny", "--env.num_games=1", "--env.step_limit=6", "--updates=1", "--threads=1"]
    sizes = ["--rollout.tasks=1", "--rollout.group_size=4", f"--model.path={taught_model}"]
    name, out = "own_credit_method:high_entropy", tmp_path / "run"
    assert run("train", f"--credit.method={name}", "--credit.share=0.3", *flags, *sizes, f"--out={out}") == 0
    assert "credit/" in str(read_rows(out / "metrics.jsonl")[-1])
    assert run("credit", "compare", str(out), "--replay", "--method", "grpo", name) == 0
    assert "high_entropy" in capsys.readouterr().out
    assert "share is 0" in refusal(capsys, "train", f"--credit.method={name}", "--credit.share=0", *flags)


def test_own_credit_method_keeps_the_uncertain_tokens(own_credit_method: ModuleType) -> None:
    """As many as its share says, with the advantage of GRPO; the column is the entropy of the logits."""
    batch = batch_for(policy := tiny())
    values = own_credit_method.entropy(batch, SimpleNamespace(scorer=Scorer(policy)))
    mask = batch.action_mask
    hidden = policy.hidden(batch.tokens.input_ids, mask, positions=batch.tokens.position_ids)
    head = policy.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    logprobs = torch.log_softmax(head(hidden), dim=-1)
    expected = -(logprobs.exp() * logprobs).sum(-1)
    assert torch.allclose(values[mask], expected, atol=1e-4) and not values[~mask].any()
    got = own_credit_method.HighEntropy(share=0.3)(batch.with_columns(entropy=values)).advantages
    whole = credit.make("grpo")(batch).advantages
    kept = (got != 0)[mask & (whole != 0)]
    assert torch.equal(got[got != 0], whole[got != 0]) and 0.1 < kept.float().mean() < 0.5


@pytest.mark.parametrize("name", ["sb3_maskable_ppo", "sb3_dqn"])
def test_sb3_examples_train_record_and_save(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For some steps; the model plays on the command line, and the training episodes replay."""
    for package in ("stable_baselines3", "sb3_contrib"):
        pytest.importorskip(package, reason="the extra sb3 is not installed")
    flags = ["--steps=2100", "--every=1500", "--games=2", f"--out={tmp_path}", "--record"]
    monkeypatch.setattr(sys, "argv", [name, *flags])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    rows = json.loads((tmp_path / "curve.json").read_text(encoding="utf-8"))
    steps = [row["steps"] for row in rows]
    assert (
        steps[0] == 0 and 1500 <= steps[1] < 1510 and 2100 <= steps[-1] < 3100 and steps == sorted(set(steps))
    )
    assert {row["success"] for row in rows} <= {0.0, 0.5, 1.0} and {row["tasks"] for row in rows} == {2}
    flags = ["--env.tier=tiny", "--eval.num_games=2", "--env.step_limit=5"]
    assert run("eval", f"--agent=sb3:{tmp_path / 'model.zip'}", *flags) == 0
    assert run("replay", str(tmp_path)) == 0


@pytest.fixture
def own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example's folder can be imported from; both registries are as before afterwards."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES), prepend=os.pathsep)
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    yield
    sys.modules.pop("own_environment", None)
    gym.registry.pop("own/GuessNumber-v0", None)


@pytest.mark.usefixtures("own_environment")
def test_own_environment_keeps_the_contract() -> None:
    """The public suite says so."""
    registry.get(GUESS)
    check_text_env(gym.make("own/GuessNumber-v0").unwrapped)


@pytest.mark.usefixtures("own_environment")
def test_own_environment_holds_numbers_out() -> None:
    """Training and evaluation share none."""
    config = config_from_dict({"env": {"id": GUESS, "highest": 7}})
    (held_out,) = evaluation_sets(config)
    assert task_ids(make_plain_env(held_out.env)) == ("3", "6")
    assert task_ids(make_plain_env(config.env)) == ("1", "2", "4", "5", "7")
    assert registry.get(GUESS).evaluated == "held-out numbers"


@pytest.mark.usefixtures("own_environment")
def test_own_environment_has_worlds_of_what_can_still_be_right() -> None:
    """Whatever the order of guesses; the documentation shows the function as it is."""
    spec, found = registry.get(GUESS), []
    env = RecordEpisode(gym.make("own/GuessNumber-v0", highest=7, step_limit=3))
    for guesses in ((4, 6), (6, 4)):
        env.reset(seed=0, options={"number": 5})
        for guess in (*guesses, 5):
            env.step(f"guess {guess}")
        assert env.last_episode is not None
        found.append(worlds_of(env.last_episode))
    one, other = found
    assert one[0] == other[0] and one[1] != other[1]
    assert one[2] == other[2] == {"low: 5", "high: 5"} and one[3] == other[3] == {
        "low: 5",
        "high: 5",
        "found: yes",
    }
    page = (ROOT / "docs" / "environments.md").read_text(encoding="utf-8")
    assert inspect.getsource(spec.worlds) in page


@pytest.mark.repeats
@pytest.mark.samples
@pytest.mark.usefixtures("own_environment")
def test_own_environment_is_cloned_trained_and_evaluated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the commands of the example's first lines, in short; its flags come from its constructor."""
    warm, trained = tmp_path / "warm", tmp_path / "trained"
    small = {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "vocab_size": 300}
    shape = [f"--model.{name}={size}" for name, size in small.items()]
    own = [f"--env.id={GUESS}", "--env.highest=7", "--env.step_limit=3", "--threads=1"]
    clone = ["--warmstart.demonstrations=600", "--warmstart.lr=0.01", "--warmstart.batch_rows=4"]
    assert run("warmstart", *own, *shape, *clone, f"--out={warm}") == 0
    assert "of 2 numbers" in capsys.readouterr().out
    sizes = ["--rollout.tasks=4", "--rollout.group_size=4", "--updates=2", "--learner.lr=0.001"]
    assert run("train", *own, *sizes, f"--model.path={warm}", f"--out={trained}") == 0
    assert read_rows(trained / "metrics.jsonl")[-1]["train/valid"] > 0
    assert json.loads((trained / "summary.json").read_text())["final"]["n"] == 2
    assert run("eval", *own, "--agent=expert") == 0
    assert "success 100.0% of 2 numbers" in capsys.readouterr().out
    assert run("replay", str(trained)) == 0
    assert run("record", *own, "--agent=random", "--episodes=2", f"--out={tmp_path / 'records'}") == 0
    check = capsys.readouterr().out.rpartition("check them with: stepopsd ")[2].split()
    assert check[-2:] == ["--module", "own_environment"]
    # In processes that have not imported the example yet.
    without = stepopsd("replay", check[1])
    assert without.returncode == 2 and "registers it with --module MODULE" in without.stderr
    replayed = stepopsd(*check)
    assert (replayed.returncode, replayed.stdout) == (0, "2/2 episodes replay identically\n")


@pytest.mark.usefixtures("own_environment")
def test_own_environment_has_the_flags_of_its_constructor(capsys: pytest.CaptureFixture[str]) -> None:
    """With their help; others are refused by name."""
    assert list(constructor_settings(GUESS)) == ["highest", "split", "step_limit"]
    assert run("record", f"--env.id={GUESS}", "--help") == 0
    assert "the largest number there is" in capsys.readouterr().out
    assert "env.tier is 'tiny', a setting that" in refusal(
        capsys, "record", f"--env.id={GUESS}", "--env.tier=tiny"
    )
    line = refusal(capsys, "record", "--env.id=own/GuessNumbers-v0")
    assert "did you mean 'own/GuessNumber-v0'?" in line
