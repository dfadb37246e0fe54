"""When to give up: a server that is gone does not come back by playing on."""

from stepopsd_wrappers import Episode

LIMIT = 20
"""Failures in a row after which nothing better is to be expected."""


class EnvironmentDownError(RuntimeError):
    """The environment failed `LIMIT` times in a row; the message quotes the last error.

    Attributes:
        episodes: records of the attempts that failed.
    """

    def __init__(self, episodes: tuple[Episode, ...]) -> None:
        super().__init__(
            f"the environment failed {len(episodes)} times in a row, the last time with "
            f"{episodes[-1].steps[-1].error}. Bring back what it needs, then go on"
        )
        self.episodes = episodes


class Failures:
    """Counts the episodes in a row that an error of the environment ended.

    A step that did something ends the row; an answer or an invalid action does not, as it asks nothing of
    what may have failed.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._row: list[Episode] = []

    def note(self, episode: Episode) -> None:
        """Count a finished episode.

        Raises:
            EnvironmentDownError: it was the last one to put up with.
        """
        *before, last = episode.steps[1:]
        done = before if last.error else [*before, last]
        if any(step.info["step"]["kind"] in ("act", "search") for step in done):
            self._row.clear()
        if last.error:
            self._row.append(episode)
        if len(self._row) >= LIMIT:
            raise EnvironmentDownError(tuple(self._row))
