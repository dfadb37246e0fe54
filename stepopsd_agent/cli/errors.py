"""Which errors are the user's, and what becomes of them: one line and an exit code."""

import os
import select
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from traceback import extract_tb
from typing import TextIO

from stepopsd_agent.cli.parser import complain
from stepopsd_wrappers.running_episode import error_words

BAD_INPUT = (
    "builtins:OSError",
    "gymnasium.error:DependencyNotInstalled",
    "stepopsd_agent.cli.checks:UsageError",
    "stepopsd_agent.credit.base:MissingColumnError",
    "stepopsd_agent.models.policy:ModelFolderError",
    "stepopsd_agent.rollout.chat_client:ServedModelError",
    "stepopsd_agent.rollout.engines.errors:EngineError",
    "stepopsd_agent.rollout.task_sets:OtherDataError",
    "stepopsd_agent.run.files.errors:CheckpointError",
    "stepopsd_agent.run.files.tracking:TrackingError",
    "stepopsd_agent.tasks.agents.custom:AgentError",
    "stepopsd_envs.alfworld.errors:GameFileError",
    "stepopsd_envs.manifest:GamesNotFoundError",
    "stepopsd_envs.search_qa.retrieval.base:RetrieverError",
    "stepopsd_envs.search_qa.retrieval.errors:RetrievalSetupError",
    "stepopsd_wrappers:EpisodeFormatError",
    "stepopsd_wrappers:RecordingError",
    "stepopsd_wrappers:ReplayError",
    "stepopsd_wrappers.sb3.saved:SavedModelError",
)
"""Their messages tell the user what to do."""

STOPPED = (
    "builtins:FloatingPointError",
    "stepopsd_agent.rollout.failures:EnvironmentDownError",
    "stepopsd_agent.run.run:Interrupted",
)
"""The run ended before its end: by Ctrl-C, a gradient that was not finite, or an environment that is down."""

UNREAD = 141
"""Exit code where the reader of the output has left: what a shell gives for a program that ends of it."""


def quiet_when_unread(run: Callable[[], int]) -> int:
    """Run, and end without a word where nobody reads the output any more, as behind ``| head``."""
    code = 0
    try:
        try:
            code = run()
            return code
        finally:
            print(end="", flush=True)  # errors of what Python writes when it ends can only be ignored
    except OSError as error:
        if not isinstance(error, BrokenPipeError) or not (streams := _unread()):
            return code if code == 2 else complain(_message(error))  # 2: the command has said it
        for stream in streams:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return UNREAD


def _unread() -> list[TextIO]:
    """Those of the two streams of output that are pipes whose reader has left."""
    left: list[TextIO] = []
    if sys.platform != "win32":
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, OSError, ValueError):  # closed, or one that is no file
                asked = select.poll()
                asked.register(stream.fileno(), 0)
                left += [stream for _, found in asked.poll(0) if found & select.POLLERR]
    return left


def exit_code(run: Callable[[], int]) -> int:
    """Run, and turn the user's errors into one line and their exit code; the program's keep their trace."""
    try:
        return run()
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _unread():
            raise
        if _is_one_of(error, BAD_INPUT):
            return complain(_message(error))
        if _is_one_of(error, STOPPED):
            print(f"stepopsd: {error}", file=sys.stderr)
            return 1
        raise
    except SystemExit as ended:  # of code that this package was given: its own ends commands by returning
        place = extract_tb(ended.__traceback__)[-1]
        where = f"{Path(place.filename).name}, line {place.lineno}"
        return complain(
            f"{where} calls sys.exit, which ends the whole command ({error_words(ended)}); let it raise an "
            "error instead"
        )


def _is_one_of(error: Exception, entries: Sequence[str]) -> bool:
    """Whether the error is of one of these classes; a module that is not loaded yet cannot have raised it."""
    for entry in entries:
        module, _, name = entry.partition(":")
        if module in sys.modules and isinstance(error, getattr(sys.modules[module], name)):
            return True
    return False


def _message(error: BaseException) -> str:
    """The error's text; the system's errors put their number first, which tells nobody anything."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning as one line; where in the code it came from helps no user."""
    print(f"stepopsd: warning: {' '.join(str(message).split())}", file=sys.stderr)
