"""Settings of another engine that cannot be used are refused before anything is written."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from stepopsd_envs.extras import install_command
from tests.helpers.command_line import TINY, refusal, run

SERVED = ["--rollout.backend=vllm", "--rollout.url=http://127.0.0.1:1"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--rollout.url=http://127.0.0.1:1"], "rollout.backend is builtin: give vllm"),
        (
            ["--rollout.backend=vllm", "--rollout.url=localhost:8000"],
            "rollout.url is 'localhost:8000'; give one",
        ),
        ([*SERVED, "--model.dtype=float64"], "float64, which vLLM does not have: give float32"),
        ([*SERVED, "--rollout.engine_memory=0"], "engine_memory is 0; vLLM needs a share"),
        ([*SERVED, "--rollout.engine_memory=1.5"], "engine_memory is 1.5; the largest value is 1"),
        (
            ["--rollout.backend=vllm", "--device=cuda:1"],
            "takes the first GPU: set CUDA_VISIBLE_DEVICES to 1 and device to cuda",
        ),
        (
            ["--rollout.backend=ray", "--rollout.ahead=true", "--checkpoint_every=1"],
            "so nothing is ever played ahead: give checkpoint_every 2 or more",
        ),
        ([*SERVED, "--learner.mismatch=clip"], "none"),
        ([*SERVED, "--learner.mismatch_low=1.5"], "mismatch_low is 1.5; the largest value is 1"),
        ([*SERVED, "--learner.mismatch_cap=0.5"], "mismatch_cap is 0.5; the smallest value is 1"),
    ],
)
def test_train_refuses_engine_settings(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says what to change."""
    out = tmp_path / "run"
    assert said in refusal(capsys, "train", *TINY, f"--out={out}", *flags)
    assert not out.exists()


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed here")
def test_train_without_vllm_says_how_to_get_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A server needs no package on this side."""
    line = refusal(capsys, "train", *TINY, f"--out={tmp_path / 'run'}", "--rollout.backend=vllm")
    assert (
        f"rollout.backend is vllm, which needs vllm: {install_command('vllm')}, or give rollout.url" in line
    )


SHORT_PLAN = ["plan", *TINY, "--memory=100", "--rate=1", "--bandwidth=10"]


@pytest.mark.parametrize("engine", [SERVED, ["--rollout.backend=ray"]])
def test_plan_refuses_an_engine_for_several_processes(
    engine: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """As train does, which would come after the plan."""
    said = (
        f"{engine[0].removeprefix('--').replace('=', ' is ')}, but torchrun's processes play for themselves"
    )
    assert said in refusal(capsys, *SHORT_PLAN, "--processes=2", *engine)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--rollout.actors=8"], "rollout.actors is 8"),
        (["--rollout.actor_gpus=0.5"], "rollout.actor_gpus is 0.5"),
        (["--rollout.engine_memory=0.4"], "rollout.engine_memory is 0.4"),
        (["--learner.mismatch=mask"], "learner.mismatch is mask"),
        (["--learner.mismatch_per=step"], "learner.mismatch_per is step"),
        (["--learner.mismatch_cap=3"], "learner.mismatch_cap is 3.0"),
        (["--learner.mismatch_low=0.1"], "learner.mismatch_low is 0.1"),
    ],
)
def test_settings_of_another_engine_are_named(
    flags: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """They change nothing, so whoever sets them should know."""
    assert run(*SHORT_PLAN, *flags) == 0
    assert (
        f"stepopsd: notice: {named}, which rollout.backend builtin does not read" in capsys.readouterr().err
    )
    assert run(*SHORT_PLAN, *SERVED) == 0
    assert "notice" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--rollout.engine_memory=0.4"], "rollout.engine_memory is 0.4, which the server at rollout.url"),
        (["--learner.mismatch_high=9"], "learner.mismatch_high is 9.0, which learner.mismatch truncate"),
        (["--learner.mismatch=mask", "--learner.mismatch_cap=3"], "which learner.mismatch mask"),
        (["--learner.mismatch=none", "--learner.mismatch_per=step"], "which learner.mismatch none"),
    ],
)
def test_settings_of_another_choice_beside_a_served_engine_are_named(
    flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bounds of the correction that was not chosen, and the memory of an engine that is elsewhere."""
    assert run(*SHORT_PLAN, *SERVED, *flags) == 0
    told = capsys.readouterr().err
    assert f"{said} does not read" in told and told.count("notice") == 1
