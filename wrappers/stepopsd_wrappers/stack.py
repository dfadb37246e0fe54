"""The usual stack of wrappers on a text environment."""

import os
from collections.abc import Callable

import gymnasium as gym

from stepopsd_wrappers.episode import Episode
from stepopsd_wrappers.episode_store import EpisodeWriter
from stepopsd_wrappers.parse_response import ParseResponse, ResponseFormat
from stepopsd_wrappers.record_episode import RecordEpisode
from stepopsd_wrappers.text_history import Layout, TextHistory


def make_text_env(
    env: gym.Env[str, str],
    *,
    format: ResponseFormat = "tags",
    layout: Layout = "transcript",
    steps: int = 2,
    folder: str | os.PathLike[str] | None = None,
    writer: EpisodeWriter | None = None,
    on_episode: Callable[[Episode], object] | None = None,
    seed: int | None = None,
) -> TextHistory:
    """Return `env` as a language model plays it: prompts come out, responses go in, episodes are recorded.

    The order is what makes the record complete: `ParseResponse` innermost, so the recorder sees the response
    and the environment says which command arrived; `TextHistory` outermost, so the recorder sees single
    observations.

    Args:
        env: a text environment, as `gymnasium.make` gives it.
        format: of the responses, see `ParseResponse`.
        layout: of the prompts, see `TextHistory`.
        steps: how many past steps the layout "window" shows.
        folder: where to record, see `RecordEpisode`; None with no writer: in memory only.
        writer: records instead of `folder`, can be shared.
        on_episode: called with every finished episode.
        seed: for drawing the seeds of resets without one.
    """
    recorded = RecordEpisode(
        ParseResponse(env, format), folder, writer=writer, on_episode=on_episode, seed=seed
    )
    return TextHistory(recorded, layout, steps)
