"""A name on the hub, where no hub can be reached: refused at once, and not after a minute of attempts."""

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from stepopsd_agent.models import hub_problem
from tests.helpers.command_line import refusal

NOBODY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No hub, nothing in its cache, no proxy and no folder of that name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(constants, "ENDPOINT", NOBODY)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("check-model", "nowhere"),
        ("train", "--model.path=nowhere", "--out=run"),
        ("plan", "--model.path=nowhere"),
    ],
)
def test_a_name_without_a_hub_is_refused_at_once(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """With what was got and what to give; the hub's own client takes most of a minute."""
    begun = time.monotonic()
    said = refusal(capsys, *arguments)
    assert time.monotonic() - begun < 20
    assert "nowhere: " in said and f"the hub at {NOBODY} cannot be reached" in said and "folder" in said


def test_the_hub_is_not_asked_where_it_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_HUB_OFFLINE; what is asked nevertheless would fail with other words."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in str(hub_problem("nowhere"))


def test_a_hub_that_answers_is_left_to_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that answers with an error; nothing is there to say against it."""

    class Refusing(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(403)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        assert hub_problem("nowhere") is None
        server.shutdown()


def test_a_model_in_the_cache_needs_no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was fetched before."""
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda name, file: f"/cache/{name}/{file}")
    assert hub_problem("nowhere") is None


def test_the_name_of_a_fresh_model_is_no_name_on_the_hub(capsys: pytest.CaptureFixture[str]) -> None:
    """`check-model tiny` says so in one sentence, and what to do."""
    said = refusal(capsys, "check-model", "tiny")
    assert "tiny names a fresh model" in said and "warmstart" in said and "hub at" not in said
