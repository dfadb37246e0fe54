"""Every command that plays several slots asks the retriever once a turn for all of them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stepopsd_agent.rollout import LanguageModel, Response, Sampled, Slot
from stepopsd_agent.run.files import save_model
from stepopsd_envs.search_qa.retrieval.base import Passage
from stepopsd_envs.search_qa.retrieval.bm25 import Bm25
from tests.helpers.chat_server import chat_server
from tests.helpers.command_line import run
from tests.helpers.models import tiny
from tests.helpers.search_qa import PASSAGES, write_rows

SHORT = [
    "--rollout.slots=8", "--rollout.max_tokens=4", "--rollout.max_row_tokens=700", "--env.max_turns=2",
    "--env.id=stepopsd/SearchQA-v0",
]  # fmt: skip


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[str]]]:
    """The queries of each call of the index; whatever a model samples, it searches for something new."""
    found, said = list[list[str]](), iter(range(10_000))
    search = Bm25.search

    def counted(index: Bm25, queries: Sequence[str], k: int) -> list[list[Passage]]:
        found.append(list(queries))
        return search(index, queries, k)

    monkeypatch.setattr(Bm25, "search", counted)
    answered = LanguageModel._response

    def searched(agent: LanguageModel, slot: Slot, row: Any, sampled: Sampled) -> Response:
        text = f"<search>Ada {next(said)}</search>"
        response = answered(agent, slot, row, sampled)
        row.shown = slot.observation + text
        return replace(response, text=text)

    monkeypatch.setattr(LanguageModel, "_response", searched)
    yield found


@pytest.fixture
def flags(tmp_path: Path) -> list[str]:
    """Eight questions about a corpus of their own."""
    rows = [{"id": f"q{k}", "question": f"Who built mill {k}?", "golden_answers": ["Ada"]} for k in range(8)]
    questions = write_rows(tmp_path / "questions.jsonl", rows)
    passages = [{"id": p.id, "title": p.title, "text": p.text} for p in PASSAGES]
    corpus = write_rows(tmp_path / "corpus.jsonl", passages)
    return [*SHORT, f"--env.corpus={corpus}", f"--env.questions={questions}", f"--eval.questions={questions}"]


@pytest.mark.parametrize("command", ["eval", "record"])
def test_eight_slots_of_a_model_ask_once_a_turn(
    command: str, calls: list[list[str]], flags: list[str], tmp_path: Path
) -> None:
    """Eight queries in each of the two turns."""
    model = tmp_path / "model"
    save_model(tiny(), model)
    episodes = ["--episodes=8"] if command == "record" else []
    assert run(command, *flags, *episodes, f"--model.path={model}", f"--out={tmp_path / 'out'}") == 0
    assert [len(call) for call in calls] == [8, 8]


def test_evaluations_inside_train_ask_together(
    calls: list[list[str]], flags: list[str], tmp_path: Path
) -> None:
    """The first, the update's own play, and the last: six turns of eight, each in two calls at most.

    A turn is handed over once half of the rows have ended.
    """
    model = tmp_path / "model"
    save_model(tiny(), model)
    short = ["--updates=1", "--rollout.tasks=2", "--rollout.group_size=4", "--credit.method=grpo"]
    assert run("train", *flags, *short, f"--model.path={model}", f"--out={tmp_path / 'out'}") == 0
    assert sum(len(call) for call in calls) == 48 and len(calls) <= 12


def test_a_served_model_asks_once_a_turn(calls: list[list[str]], flags: list[str], tmp_path: Path) -> None:
    """For all its conversations."""
    with chat_server(lambda body, number: f"<search>Ada {number}</search>") as server:
        served = ["--agent=openai", f"--openai.url={server.url}", "--openai.concurrency=8"]
        assert run("eval", *flags, *served, f"--out={tmp_path / 'out'}") == 0
    assert [len(call) for call in calls] == [8, 8]
