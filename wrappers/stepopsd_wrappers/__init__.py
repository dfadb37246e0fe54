"""Wrappers that let a language model play a text environment, and record the episodes."""

from stepopsd_wrappers.episode import Episode, Step, StepTokens
from stepopsd_wrappers.episode_store import EpisodeWriter, RecordingError
from stepopsd_wrappers.parse_response import ParsedResponse, ParseResponse, find_wrapper, parse_response
from stepopsd_wrappers.plain_json import EpisodeFormatError
from stepopsd_wrappers.record_episode import RecordEpisode, recorder
from stepopsd_wrappers.replay import ReplayError, ReplayReport, replay
from stepopsd_wrappers.running_episode import EpisodeSnapshot
from stepopsd_wrappers.shards import read_episodes
from stepopsd_wrappers.spec_record import env_spec
from stepopsd_wrappers.stack import make_text_env
from stepopsd_wrappers.text_history import MARKER, PromptSnapshot, TextHistory

__all__ = [
    "MARKER",
    "Episode",
    "EpisodeFormatError",
    "EpisodeSnapshot",
    "EpisodeWriter",
    "ParseResponse",
    "ParsedResponse",
    "PromptSnapshot",
    "RecordEpisode",
    "RecordingError",
    "ReplayError",
    "ReplayReport",
    "Step",
    "StepTokens",
    "TextHistory",
    "env_spec",
    "find_wrapper",
    "make_text_env",
    "parse_response",
    "read_episodes",
    "recorder",
    "replay",
]
