"""Settings of another engine that cannot be used are refused before anything is written."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from stepopsd_envs.extras import install_command
from tests.helpers.command_line import TINY, refusal

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
