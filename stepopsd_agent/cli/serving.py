"""Play sets of tasks with a served model."""

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from stepopsd_agent.cli.checks import UsageError, settings_checked
from stepopsd_agent.config import RunConfig
from stepopsd_agent.run.files import read_rows, write_bytes_atomic
from stepopsd_agent.tasks import EvalSet, make_stack, system_message
from stepopsd_envs.plain_file import plain_file
from stepopsd_wrappers import Episode

if TYPE_CHECKING:
    from stepopsd_agent.rollout import ChatClient, Request

REQUESTS = "requests.jsonl"
REFUSED = (401, 403)
"""HTTP statuses of a missing or wrong key."""


@dataclass(frozen=True)
class Asked:
    """The sets to play, and what is done with the episodes.

    Attributes:
        config: the settings.
        sets: what to play.
        seed: of the first episode of each set.
        keep: called with every episode as it finishes.
        before: records of an interrupted evaluation; their tasks are not played again.
        requests: file to which a row about each request to a served model is appended.
        stack: closes environments and agents.
    """

    config: RunConfig
    sets: Sequence[EvalSet]
    seed: int
    keep: Callable[[Episode], None]
    before: Sequence[Episode]
    requests: Path | None
    stack: ExitStack


def served_plays(asked: Asked) -> list[Callable[[], list[Episode]]]:
    """Return a function per set that plays it with the served model, and logs the cost of each step."""
    from stepopsd_agent.rollout import ChatClient, ServedModel, play_set_with, sampling_params, usage

    config, stack, settings, costs = asked.config, asked.stack, asked.config.openai, list["Request"]()
    with settings_checked():
        client = ChatClient(
            settings.url, deadline=settings.deadline, retries=settings.retries, backoff=settings.backoff
        )
    model = _model(client, settings.model)

    def note(request: "Request") -> None:
        costs.append(request)
        if asked.requests is not None:
            with plain_file(asked.requests, missing_ok=True).open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(request)) + "\n")

    def report() -> None:
        if costs:
            parts = [f"{name.replace('_', ' ')} {value}" for name, value in usage(costs).items()]
            print(f"{model} at {client.url}: {', '.join(parts)}", file=sys.stderr)
        if cut := sum(request.cut for request in costs):
            print(
                f"stepopsd: notice: {cut} of {len(costs)} responses were cut at rollout.max_tokens, which is "
                f"{config.rollout.max_tokens}; a model that thinks before its command needs more",
                file=sys.stderr,
            )

    if asked.requests is not None:
        _without_torn_row(asked.requests)
    stack.callback(report)
    plays = list[Callable[[], list[Episode]]]()
    for evaluation in asked.sets:
        agent = ServedModel(
            client,
            model,
            sampling_params(config),
            system=system_message(config),
            on_request=note,
            workers=settings.concurrency,
        )
        stack.callback(agent.close)
        envs = [
            stack.enter_context(closing(make_stack(evaluation.env)))
            for _ in range(min(settings.concurrency, evaluation.total or settings.concurrency))
        ]
        plays.append(partial(play_set_with, agent, envs, evaluation, asked.seed, asked.keep, asked.before))
    return plays


def _model(client: "ChatClient", name: str | None) -> str:
    """Return the name of the model; fail here if the server is not there, refuses the key or lacks it."""
    from stepopsd_agent.rollout import ServedModelError

    try:
        listed = client.models(lambda text: print(f"stepopsd: notice: {text}", file=sys.stderr))
    except ServedModelError as error:
        if error.status is None or error.status in REFUSED:
            raise
        if name is None:
            raise UsageError(f"{error}; name the model with --openai.model") from error
        listed = []  # `transformers serve FOLDER` cannot list its model
    if name is None and len(listed) != 1:
        raise UsageError(
            f"{client.url} lists {len(listed)} models ({', '.join(listed[:9])}); name one with --openai.model"
        )
    if name is not None and name not in listed:  # some servers have models that they do not list
        client.complete(name, [{"role": "user", "content": "Hello"}], max_tokens=1)
    return listed[0] if name is None else name


def read_requests(path: Path) -> "list[Request]":
    """Read the rows of a file of requests; an empty list if there is no file."""
    from stepopsd_agent.rollout import Request

    return [Request(**row) for row in read_rows(path)] if path.exists() else []


def _without_torn_row(path: Path) -> None:
    """Remove the half row that a killed process or a full disk left, before more rows are appended."""
    lines = plain_file(path).read_bytes().splitlines(keepends=True) if path.exists() else []
    if lines and not lines[-1].endswith(b"\n"):
        write_bytes_atomic(path, b"".join(lines[:-1]))
