"""A vLLM server that draws: the built-in decoder's episodes, and a run that outlives the server."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.config import RolloutConfig
from stepopsd_agent.models import Policy
from stepopsd_agent.rollout import SamplingParams, rollout
from stepopsd_agent.rollout.engines import Draw, EngineBackend, EngineError, Server
from stepopsd_agent.run import Trainer
from stepopsd_agent.run.files import read_rows
from stepopsd_agent.tasks import make_stack
from stepopsd_wrappers import Episode
from tests.agent.rollout.engines.test_requests import attempts, sampled
from tests.helpers.command_line import run
from tests.helpers.runs import run_config, taught, train_arguments
from tests.helpers.vllm_server import VllmServer

pytest.importorskip("vllm", reason="vLLM is not installed: make vllm-venv, then make test-slow")
pytestmark = [pytest.mark.slow, pytest.mark.samples]


@pytest.fixture(scope="module")
def server(taught_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    """One server, which starts with the weights of the taught model."""
    made = VllmServer(taught_model, tmp_path_factory.mktemp("vllm") / "server.log")
    made.start()
    yield made
    made.kill()


def trained(url: str | None) -> tuple[list[Episode], Policy]:
    """Two updates of GRPO: what was played, and the policy."""
    kind = "builtin" if url is None else "vllm"
    config = run_config(
        rollout={"backend": kind, "url": url, "slots": 3},
        learner={"rescore_old": True, "mismatch": "none"},
    )
    backend: Any = rollout if url is None else EngineBackend(config.rollout)
    one = Trainer(config, credit.make("grpo"), taught(), backend=backend)
    episodes = [episode for _ in range(2) for episode in one.step()[0]]
    if url is not None:
        backend.close()
    return episodes, one.policy


def test_a_server_gives_the_episodes_and_updates_of_the_built_in_decoder(server: VllmServer) -> None:
    """Over HTTP, three at a time: the same tokens with the weights of each update, and the same weights."""
    found, policy = trained(server.url)
    expected, same = trained(None)
    assert sampled(found) == sampled(expected)
    moved = max(float((w - taught().state()[n]).abs().max()) for n, w in policy.state().items())
    assert moved > 1e-3
    for name, weight in same.state().items():
        torch.testing.assert_close(policy.state()[name], weight, atol=1e-6, rtol=0)


def test_a_server_ends_responses_at_stop_strings(server: VllmServer) -> None:
    """Where the built-in decoder ends them, with cuts and another temperature."""
    env, params = run_config().env, SamplingParams(0.8, 30, 0.95, 12, 512, stop=(" 1", "to"))
    backend = EngineBackend(RolloutConfig(backend="vllm", url=server.url, max_row_tokens=512, slots=2))
    one, other = ([make_stack(env) for _ in range(2)] for _ in range(2))
    found = backend(taught(), one, attempts(5), params, seed="stops")
    backend.close()
    expected = rollout(taught(), other, attempts(5), params, seed="stops")
    assert sampled(found) == sampled(expected)


def test_a_server_that_was_started_again_is_noticed(server: VllmServer) -> None:
    """It answers with the weights of its folder, which may be others than it was given."""
    draw = Draw(np.array([0.25, 0.5]), SamplingParams(max_tokens=2), ())
    with closing(Server(server.url, slots=1)) as one:
        one.load(taught())
        one.ask(1, [1, 2], draw)
        assert list(one.finished()) == [1]
        server.kill()
        server.start()
        one.ask(2, [1, 2], draw)
        with pytest.raises(EngineError, match="no longer has the weights"):
            one.finished()
        one.load(taught())
        one.ask(3, [1, 2], draw)
        assert list(one.finished()) == [3]


def test_a_server_says_how_long_its_rows_may_be_and_in_what_it_computes(server: VllmServer) -> None:
    """Both are held against the run."""
    Server(server.url, slots=1, max_row_tokens=512).close()
    with pytest.raises(EngineError, match="up to 512 tokens"):
        Server(server.url, slots=1, max_row_tokens=513)
    policy = taught()
    policy.model.to(torch.bfloat16)  # type: ignore[arg-type]
    with closing(Server(server.url, slots=1)) as one:
        with pytest.warns(RuntimeWarning, match="computes in float32 and the learner in bfloat16"):
            one.load(policy)


def test_a_run_outlives_its_server(
    server: VllmServer, taught_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed in the middle of an update: one line says so, and the resumed run is as if it had not been."""
    how = ["--rollout.backend=vllm", f"--rollout.url={server.url}", "--learner.mismatch=none"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(*train_arguments(taught_model, whole, *how)) == 0

    def kill() -> None:
        while not (killed / "metrics.jsonl").is_file() or len(read_rows(killed / "metrics.jsonl")) < 4:
            time.sleep(0.002)
        server.kill()

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    assert run(*train_arguments(taught_model, killed, *how)) == 2
    thread.join()
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("stepopsd: error: the vLLM server gave no answer") and "start it again" in line
    server.start()
    assert run("train", f"--resume={killed}") == 0
    one, other = ((out / "model" / "model.safetensors").read_bytes() for out in (whole, killed))
    assert one == other
    left = [
        {name: value for name, value in row.items() if not name.startswith("mismatch/")}
        for out in (whole, killed)
        for row in read_rows(out / "metrics.jsonl")
    ]
    assert left[:7] == left[7:] and len(left) == 14
