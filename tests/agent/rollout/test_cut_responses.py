"""Responses of a served model that had no room for their end."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.chat_server import chat_server
from tests.helpers.command_line import run

COMMAND = ["eval", "--agent=openai", "--env.tier=tiny", "--env.step_limit=3", "--eval.num_games=2"]


@pytest.mark.parametrize(("reason", "cut"), [("length", 3), ("stop", 0), (None, 0)])
def test_responses_cut_at_max_tokens_are_counted_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reason: str | None, cut: int
) -> None:
    """A reasoning model without room for its command loses every game, and nothing else would say why."""

    def answer(body: dict[str, Any], number: int) -> bytes:
        given = reason if number % 2 else "stop"
        return json.dumps({"choices": [{"message": {"content": "hm"}, "finish_reason": given}]}).encode()

    out = tmp_path / "out"
    with chat_server(answer) as server:
        flags = [f"--openai.url={server.url}", "--openai.concurrency=1", f"--out={out}"]
        assert run(*COMMAND, "--rollout.max_tokens=9", *flags) == 0
    assert json.loads((out / "evaluation.json").read_text())["usage"]["cut_responses"] == cut
    rows = [json.loads(line) for line in (out / "requests.jsonl").read_text().splitlines()]
    assert [row["cut"] for row in rows] == [bool(cut) and number % 2 == 1 for number in range(6)]
    notice = "notice: 3 of 6 responses were cut at rollout.max_tokens, which is 9"
    assert (notice in capsys.readouterr().err) == bool(cut)
