"""A served model as an agent: each episode is a conversation, and several are played in parallel."""

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
    """The cost of one step of an episode.

    Attributes:
        task_id: task of the attempt.
        seed: seed of the attempt.
        group: group of the attempt.
        member: number of the attempt in its group.
        step: number of the step, counted from 1.
        prompt_tokens: tokens of the prompt as counted by the server; -1 if unknown.
        completion_tokens: tokens of the response as counted by the server; -1 if unknown.
        seconds: time until the answer arrived, retries included.
        tries: requests that were sent; 0 if none was answered.
        cut: whether the limit of tokens ended the response, and not the model.
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
    cut: bool = False


@dataclass
class _Talk:
    """The conversation of one episode."""

    shown: str = ""  # prompts and responses so far
    messages: list[Message] = field(default_factory=list)


class ServedModel:
    """A `BatchAgent` that plays several episodes in parallel with a served model.

    The environments come from ``make_text_env``, as for a language model. If a prompt continues the
    conversation, its new part is sent as the next message; otherwise, as in the window layout, a new
    conversation begins. A step without an answer ends its episode, which is recorded as failed.
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
        """Create the agent.

        Args:
            client: client of the server.
            model: name of the model on the server.
            params: sampling parameters; only temperature, max_tokens and stop are sent.
            system: system message; none if empty.
            on_request: called with the cost of every step.
            workers: most requests at a time.
        """
        self._client, self._model, self._params, self._system = client, model, params, system
        self._on_request = on_request
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="served-model")
        self._talks: list[_Talk] = []

    def close(self) -> None:
        """Cancel requests that have not been sent."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def begin(self, place: int, slot: Slot) -> None:
        """Begin a new conversation for this episode."""
        self._talks[place : place + 1] = [_Talk()]

    def act(self, slots: Sequence[Slot]) -> list[Response]:
        """Request a response for every running episode, in parallel."""
        asked = list(self._pool.map(self._answer, self._talks, slots))
        for _, request in asked:
            self._on_request(request)
        return [response for response, _ in asked]

    def is_full(self, place: int, slot: Slot) -> bool:
        """Return False; the server itself refuses a conversation that is too long."""
        return False

    def keep(self, places: Sequence[int]) -> None:
        """Keep the conversations of these places alone."""
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
        request = Request(
            *names, reply.prompt_tokens, reply.completion_tokens, seconds, reply.tries, reply.cut
        )
        talk.messages.append({"role": "assistant", "content": reply.text})
        talk.shown = slot.observation + reply.text
        return Response(reply.text, error=error), request

    def _extend(self, talk: _Talk, prompt: str) -> None:
        """Append the new part of the prompt as a message of the user."""
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
    """Sum up requests: counts, tokens (None if the server counts none) and seconds."""
    seconds = [request.seconds for request in requests]
    counted = [r for r in requests if r.prompt_tokens >= 0 and r.completion_tokens >= 0]
    return {
        "steps": len(requests),
        "steps_without_answer": sum(not request.tries for request in requests),
        "repeated_requests": sum(max(0, request.tries - 1) for request in requests),
        "cut_responses": sum(request.cut for request in requests),
        "prompt_tokens": sum(r.prompt_tokens for r in counted) if counted else None,
        "completion_tokens": sum(r.completion_tokens for r in counted) if counted else None,
        "seconds_median": round(float(np.median(seconds)), 4) if seconds else None,
        "seconds_p95": round(float(np.quantile(seconds, 0.95)), 4) if seconds else None,
    }


def as_row(request: Request) -> dict[str, Any]:
    """A request as a row of ``requests.jsonl``."""
    return asdict(request)
