"""What the commands of ``stepopsd`` do, on parsed settings, and which of their errors are the user's."""

from collections.abc import Callable

from gymnasium.error import DependencyNotInstalled
from jsonargparse import Namespace

from stepopsd_agent.cli.checks import UsageError
from stepopsd_agent.cli.credit import run_credit
from stepopsd_agent.cli.data import run_data
from stepopsd_agent.cli.keyboard import run_play
from stepopsd_agent.cli.planning import run_plan
from stepopsd_agent.cli.playing import run_eval, run_record, run_replay
from stepopsd_agent.cli.retrieval import run_index, run_serve
from stepopsd_agent.cli.training import run_train, run_warmstart
from stepopsd_agent.credit.base import MissingColumnError
from stepopsd_agent.models.policy import ModelFolderError
from stepopsd_agent.rollout.failures import EnvironmentDownError
from stepopsd_agent.run.files.checkpoint import CheckpointError
from stepopsd_agent.run.run import Interrupted
from stepopsd_envs.alfworld.errors import GameFileError
from stepopsd_envs.manifest import GamesNotFoundError
from stepopsd_envs.search_qa.retrieval.base import RetrieverError
from stepopsd_envs.search_qa.retrieval.errors import RetrievalSetupError
from stepopsd_wrappers import EpisodeFormatError, RecordingError, ReplayError

__all__ = ["BAD_INPUT", "COMMANDS", "STOPPED"]

BAD_INPUT = (
    UsageError,
    GamesNotFoundError,
    GameFileError,
    RetrieverError,
    RetrievalSetupError,
    DependencyNotInstalled,
    ModelFolderError,
    CheckpointError,
    MissingColumnError,
    RecordingError,
    EpisodeFormatError,
    ReplayError,
    OSError,
)
"""Their messages tell the user what to do; all other errors are the program's and keep their trace."""

STOPPED = (Interrupted, FloatingPointError, EnvironmentDownError)
"""The run ended before its end: by Ctrl-C, a gradient that was not finite, or an environment that is down."""

COMMANDS: dict[str, Callable[[Namespace], int]] = {
    "warmstart": run_warmstart,
    "train": run_train,
    "eval": run_eval,
    "record": run_record,
    "replay": run_replay,
    "play": run_play,
    "data": run_data,
    "index": run_index,
    "serve-retriever": run_serve,
    "credit": run_credit,
    "plan": run_plan,
}
"""Each takes its parsed settings and returns the exit code."""
