"""Wrappers that let a language model play a text environment, and record the episodes."""

from stepopsd_wrappers.episode import Episode, Step, StepTokens
from stepopsd_wrappers.episode_store import EpisodeWriter, RecordingError
from stepopsd_wrappers.parse_response import ParsedResponse, ParseResponse, parse_response
from stepopsd_wrappers.plain_json import EpisodeFormatError
from stepopsd_wrappers.record_episode import RecordEpisode
from stepopsd_wrappers.replay import ReplayError, ReplayReport, replay
from stepopsd_wrappers.shards import read_episodes
from stepopsd_wrappers.stack import make_text_env, recorder
from stepopsd_wrappers.text_history import HeldPrompt, TextHistory

__all__ = [
    "Episode",
    "EpisodeFormatError",
    "EpisodeWriter",
    "HeldPrompt",
    "ParseResponse",
    "ParsedResponse",
    "RecordEpisode",
    "RecordingError",
    "ReplayError",
    "ReplayReport",
    "Step",
    "StepTokens",
    "TextHistory",
    "make_text_env",
    "parse_response",
    "read_episodes",
    "recorder",
    "replay",
]
