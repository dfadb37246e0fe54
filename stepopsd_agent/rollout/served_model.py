"""A model behind a server as an agent: each episode is a conversation, and several go on at once."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from stepopsd_agent.rollout.chat_client import ChatClient, Message, Reply, ServedModelError
from stepopsd_agent.rollout.playing import Response, Slot
from stepopsd_agent.rollout.sampling import SamplingParams
from stepopsd_wrappers import MARKER


@dataclass(frozen=True)
class Request:
    """What one step of an episode cost.

    Attributes:
        task_id: of the attempt.
        seed: of the attempt.
        group: of the attempt.
        member: of the attempt.
        step: number of the step that it answers.
        prompt_tokens: as the server counts them; -1 if it does not say, or gave no answer.
        completion_tokens: likewise.
        seconds: until the answer was there, repetitions included.
        tries: requests that it took; 0 if there was no answer.
    """

    task_id: str
    seed: int
    group: int
    member: int
    step: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    tries: int


@dataclass
class _Talk:
    """The conversation of one episode."""

    shown: str = ""  # prompts and responses so far
    messages: list[Message] = field(default_factory=list)


class ServedModel:
    """Plays several episodes side by side with a served model; a `BatchAgent`.

    The stacks are those of a language model, from ``make_text_env``. A prompt that extends what the model was
    shown becomes its next message; another one, as of the window layout, begins the conversation anew. A step
    without an answer ends its episode, which is recorded as failed.
    """

    def __init__(
        self,
        client: ChatClient,
        model: str,
        params: SamplingParams,
        *,
        system: str = "",
        on_request: Callable[[Request], None] = lambda request: None,
        workers: int = 8,
    ) -> None:
        """Begin without episodes.

        Args:
            client: asks the server.
            model: its name there.
            params: temperature, longest response and stop strings; the server does not read the others.
            system: the first message; none if empty.
            on_request: told the cost of every step.
            workers: requests under way at once.
        """
        self._client, self._model, self._params, self._system = client, model, params, system
        self._on_request = on_request
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="served-model")
        self._talks: list[_Talk] = []

    def close(self) -> None:
        """Drop what has not been asked yet."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def begin(self, place: int, slot: Slot) -> None:
        """Give the place a fresh conversation."""
        self._talks[place : place + 1] = [_Talk()]

    def act(self, slots: Sequence[Slot]) -> list[Response]:
        """Ask for all places at once."""
        asked = list(self._pool.map(self._answer, self._talks, slots))
        for _, request in asked:
            self._on_request(request)
        return [response for response, _ in asked]

    def is_full(self, place: int, slot: Slot) -> bool:
        """Never; a server that finds a conversation too long says so."""
        return False

    def keep(self, places: Sequence[int]) -> None:
        """Drop the other places' conversations."""
        self._talks = [self._talks[place] for place in places]

    def _answer(self, talk: _Talk, slot: Slot) -> tuple[Response, Request]:
        self._extend(talk, slot.observation)
        start, reply, error = time.monotonic(), Reply("", -1, -1, 0), None
        try:
            reply = self._client.complete(self._model, talk.messages, **self._options(slot))
        except ServedModelError as problem:
            error = f"{type(problem).__name__}: {problem}"
        attempt = slot.attempt
        names = (attempt.task_id, attempt.seed, attempt.group, attempt.member, slot.turn + 1)
        seconds = round(time.monotonic() - start, 4)
        request = Request(*names, reply.prompt_tokens, reply.completion_tokens, seconds, reply.tries)
        talk.messages.append({"role": "assistant", "content": reply.text})
        talk.shown = slot.observation + reply.text
        return Response(reply.text, error=error), request

    def _extend(self, talk: _Talk, prompt: str) -> None:
        """Add the prompt, or what is new of it, as the user's message."""
        if not talk.shown or not prompt.startswith(talk.shown):
            talk.shown = ""
            talk.messages = [{"role": "system", "content": self._system}] if self._system else []
        new = prompt[len(talk.shown) :].removesuffix(MARKER).strip("\n")
        talk.messages.append({"role": "user", "content": new})

    def _options(self, slot: Slot) -> dict[str, Any]:
        params = self._params
        options: dict[str, Any] = {"temperature": params.temperature, "max_tokens": params.max_tokens}
        if params.temperature:
            options["seed"] = slot.attempt.seed + slot.turn
        return {**options, "stop": list(params.stop)} if params.stop else options


def usage(requests: Sequence[Request]) -> dict[str, Any]:
    """Sums over requests, and how long they took; None where a server counts no tokens."""
    seconds = [request.seconds for request in requests]
    counted = [r for r in requests if r.prompt_tokens >= 0 and r.completion_tokens >= 0]
    return {
        "steps": len(requests),
        "steps_without_answer": sum(not request.tries for request in requests),
        "repeated_requests": sum(max(0, request.tries - 1) for request in requests),
        "prompt_tokens": sum(r.prompt_tokens for r in counted) if counted else None,
        "completion_tokens": sum(r.completion_tokens for r in counted) if counted else None,
        "seconds_median": round(float(np.median(seconds)), 4) if seconds else None,
        "seconds_p95": round(float(np.quantile(seconds, 0.95)), 4) if seconds else None,
    }


def as_row(request: Request) -> dict[str, Any]:
    """A request as a row of ``requests.jsonl``."""
    return asdict(request)
