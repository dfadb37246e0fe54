"""What a server must be able to do is asked before anything is played; what it says is read with care."""

import json
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepopsd_agent.config import RolloutConfig
from stepopsd_agent.rollout import SamplingParams
from stepopsd_agent.rollout.engines import Draw, EngineBackend, EngineError, Server
from tests.helpers.chat_server import Answer, ChatServer, chat_server
from tests.helpers.models import experts, tiny

ONLY = {"a": -0.5, "b": -9999.0}
"""Logits of a server with the processor: every token but the drawn one is impossible."""
DRAW = Draw(np.array([0.25, 0.5]), SamplingParams(temperature=0.7, max_tokens=2, stop=("x",)), (3,))


def completion(ids: list[int], logprobs: list[float], likeliest: dict[str, float] = ONLY) -> bytes:
    """An answer as vLLM gives it."""
    told = {"token_logprobs": logprobs, "top_logprobs": [likeliest] * len(ids)}
    return json.dumps({"choices": [{"token_ids": ids, "logprobs": told}]}).encode()


@contextmanager
def served(answer: Answer) -> Iterator[tuple[Server, ChatServer]]:
    """A client of a server that answers the check of its flags, and all else with this."""
    with chat_server(
        lambda body, number: answer(body, number) if number else completion([5], [-0.5])
    ) as http:
        with closing(Server(http.url.removesuffix("/v1"), slots=2)) as server:
            yield server, http


def test_a_server_without_the_processor_is_refused() -> None:
    """It would take the likeliest token every time, and nobody would notice."""
    plain = completion([5], [-0.5], {"a": -0.5, "b": -1.5})
    with chat_server(lambda body, number: plain) as http, pytest.raises(EngineError) as caught:
        Server(http.url.removesuffix("/v1"), slots=1)
    assert "does not draw with this project's noise" in str(caught.value)
    assert "--logits-processors stepopsd_agent.rollout.engines.keyed_noise:KeyedNoise" in str(caught.value)


@pytest.mark.parametrize(
    "said", [b'{"choices": [{"text": "look"}]}', b'{"choices": [{"logprobs": null}]}', b"[]", b'{"error": 1}']
)
def test_a_server_of_another_kind_is_refused_with_a_sentence(said: bytes) -> None:
    """Whatever it answers: it was reached, so the address may be that of something else."""
    with chat_server(lambda body, number: said) as http, pytest.raises(EngineError) as caught:
        Server(http.url.removesuffix("/v1"), slots=1)
    assert "does not answer as vLLM does: is rollout.url the address of a vLLM server" in str(caught.value)


def test_a_server_that_lists_no_model_is_refused_with_a_sentence() -> None:
    """Likewise."""
    with chat_server(lambda body, number: completion([5], [-0.5]), models=()) as http:
        with pytest.raises(EngineError, match="does not answer as vLLM does"):
            Server(http.url.removesuffix("/v1"), slots=1)


def test_an_address_where_no_server_is_names_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is another one than that of a served agent."""
    monkeypatch.setattr("stepopsd_agent.rollout.chat_client.time.sleep", lambda seconds: None)
    with pytest.raises(EngineError, match=r"is a server there\? rollout\.url has its address"):
        Server("http://127.0.0.1:9", slots=1)


def test_a_server_that_is_refused_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of weights that it will not be given; nor does one that was used and is closed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with chat_server(lambda body, number: b"[]") as http, pytest.raises(EngineError):
        Server(http.url, slots=1)
    assert not list(tmp_path.iterdir())
    with loaded() as (server, _):
        assert list(tmp_path.iterdir()) == [Path(server._folder.name)]
    assert not list(tmp_path.iterdir())


def test_a_server_that_cannot_read_the_weights_is_told_where_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On another machine, or in a container, it may not see the folder; vLLM says status 500 alone."""
    monkeypatch.setattr("stepopsd_agent.rollout.chat_client.time.sleep", lambda seconds: None)

    def answer(body: dict[str, Any], number: int) -> Any:
        return (500, "Internal Server Error") if "method" in body else b'{"success": true}'

    with served(answer) as (server, _), pytest.raises(EngineError) as caught:
        server.load(tiny())
    assert f"start it again where it sees {server._folder.name}, in which" in str(caught.value)


def test_the_address_of_the_servers_interface_is_its_address_too() -> None:
    """Of a served agent one gives it with /v1, so here people do, too."""
    with chat_server(lambda body, number: completion([5], [-0.5])) as http:
        with closing(Server(f"{http.url}/", slots=1)) as server:
            assert server.url == http.url.removesuffix("/v1")


def test_a_model_that_trains_under_other_names_than_it_is_stored_is_refused() -> None:
    """VLLM would leave out the names that it does not know, and draw with the old experts."""
    with served(lambda body, number: b'{"success": true}') as (server, http):
        asked = len(http.requests)
        with pytest.raises(EngineError, match="stores its weights under other names"):
            server.load(experts())
        assert len(http.requests) == asked
        server.load(tiny())


def test_a_request_holds_all_that_a_response_depends_on() -> None:
    """Ids, noise, how to draw and where to end; the answer is read by number."""
    with served(lambda body, number: completion([7, 3], [-0.1, -0.2])) as (server, http):
        server.ask(11, [1, 2], DRAW)
        (found,) = server.finished().items()
    assert found[0] == 11 and (found[1].ids, found[1].logprobs) == ((7, 3), (-0.1, -0.2))
    body: dict[str, Any] = http.requests[-1]
    assert (body["prompt"], body["max_tokens"], body["temperature"]) == ([1, 2], 2, 0.0)
    assert (body["stop"], body["stop_token_ids"], body["ignore_eos"]) == (["x"], [3], True)
    assert body["vllm_xargs"]["stepopsd_temperature"] == 0.7


def test_a_request_leaves_no_sampling_parameter_to_the_server() -> None:
    """It would take it from the model's generation_config.json, and applies penalties after the noise.

    With Qwen2.5's repetition_penalty every repeated token came back with 1.05 times its log-probability.
    """
    with served(lambda body, number: completion([7, 3], [-0.1, -0.2])) as (server, http):
        server.ask(11, [1, 2], DRAW)
        server.finished()
    penalties = {"repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
    neutral = {**penalties, "top_p": 1.0, "top_k": 0, "min_p": 0.0}
    assert all({name: body.get(name) for name in neutral} == neutral for body in http.requests)


def test_an_answer_without_ids_is_an_error() -> None:
    """A server of another kind tells texts alone."""
    with served(lambda body, number: b'{"choices": [{"text": "look"}]}') as (server, _):
        server.ask(1, [1], DRAW)
        with pytest.raises(EngineError, match="without token ids: is it vLLM"):
            server.finished()


def test_a_server_without_its_development_routes_is_told_how_to_start() -> None:
    """Weights go through one of them."""
    with served(lambda body, number: (404, "Not Found")) as (server, _):
        with pytest.raises(EngineError, match="start it with VLLM_SERVER_DEV_MODE=1"):
            server.load(tiny())


def test_a_server_that_draws_for_others_is_refused() -> None:
    """It keeps prefixes of earlier weights."""
    with served(lambda body, number: b'{"success": false}') as (server, _):
        with pytest.raises(EngineError, match="drawing for somebody else"):
            server.load(tiny())


@contextmanager
def loaded() -> Iterator[tuple[Server, ChatServer]]:
    """A server that has taken weights, and notes for which run."""

    def answer(body: dict[str, Any], number: int) -> Any:
        if "new_version" in body:
            http.told["/weight_info"] = {"weight_version": body["new_version"]}
        return completion([7, 3], [-0.1, -0.2]) if "prompt" in body else b'{"success": true}'

    with served(answer) as (server, http):
        server.load(tiny())
        yield server, http


def test_a_server_that_was_started_again_is_refused() -> None:
    """It answers as before, with the weights of its model folder."""
    with loaded() as (server, http):
        server.ask(1, [1, 2], DRAW)
        assert list(server.finished()) == [1]
        http.told["/weight_info"] = {"weight_version": "default"}
        server.ask(2, [1, 2], DRAW)
        with pytest.raises(EngineError, match=r"no longer has the weights .* a server of its own$"):
            server.finished()
        server.load(tiny())
        server.ask(3, [1, 2], DRAW)
        assert list(server.finished()) == [3]


def test_a_server_that_another_run_gave_weights_is_refused() -> None:
    """A server belongs to one run."""
    with loaded() as (server, _), closing(Server(server.url, slots=1)) as other:
        other.load(tiny())
        server.ask(1, [1, 2], DRAW)
        with pytest.raises(EngineError, match="no longer has the weights"):
            server.finished()


def test_a_server_marks_its_weights_before_it_reads_them() -> None:
    """In the other order one that starts again in between would be marked with its old weights."""
    with loaded() as (_, http):
        marked, read = (
            next(place for place, body in enumerate(http.requests) if name in body)
            for name in ("new_version", "method")
        )
        assert marked < read


def test_a_server_whose_rows_are_shorter_than_the_runs_is_refused() -> None:
    """It would refuse the first long row, after hours perhaps; as long as the run's is long enough."""
    with chat_server(lambda body, number: completion([5], [-0.5])) as http:
        http.model_details["max_model_len"] = 1024
        for longest in (None, 1000, 1024):
            Server(http.url, slots=1, max_row_tokens=longest).close()
        words = r"up to 1024 tokens, .* up to 1025: start it with --max-model-len 1025, or set rollout"
        with pytest.raises(EngineError, match=words):
            Server(http.url, slots=1, max_row_tokens=1025)


@pytest.mark.parametrize(("positions", "fits"), [(1024, True), (1025, False)])
def test_a_run_needs_rows_as_long_as_its_model_has_positions(positions: int, fits: bool) -> None:
    """Whatever rollout.max_row_tokens allows: no row grows beyond them."""
    policy = tiny()
    policy.model.config.max_position_embeddings = positions
    with chat_server(lambda body, number: completion([5], [-0.5])) as http:
        http.model_details["max_model_len"] = 1024
        backend = EngineBackend(RolloutConfig(backend="vllm", url=http.url, max_row_tokens=4096))
        with nullcontext() if fits else pytest.raises(EngineError, match="--max-model-len 1025"):
            backend._made(policy).close()


@pytest.mark.parametrize("kind", ["torch.float16", "torch.float32", None])
def test_a_server_that_computes_in_another_type_is_told_of(kind: str | None) -> None:
    """VLLM takes float16 for a folder of float32 unless it is told; one that does not say goes unremarked."""
    with loaded() as (server, http), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        http.told["/server_info?config_format=json"] = {"vllm_config": {"model_config": {"dtype": kind}}}
        with closing(Server(server.url, slots=1)) as another:
            another.load(tiny())
            another.load(tiny())
    said = [str(warning.message) for warning in caught if "computes in" in str(warning.message)]
    assert len(said) == (kind == "torch.float16")
    assert all("computes in float16 and the learner in float32" in text for text in said)
    assert all("start it with --dtype float32" in text for text in said)
