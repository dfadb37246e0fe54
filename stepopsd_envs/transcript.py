"""The text of one episode, which grows at its end only."""


class Transcript:
    """Text in parts with its length known, so that adding costs nothing however long the episode is."""

    def __init__(self, text: str = "") -> None:
        self._parts = [text]
        self._length = len(text)

    def add(self, text: str) -> tuple[int, int]:
        """Append ``text`` and return where it stands: ``str(self)[start:end] == text``."""
        start = self._length
        self._parts.append(text)
        self._length += len(text)
        return start, self._length

    def __len__(self) -> int:
        """Length in code points."""
        return self._length

    def __str__(self) -> str:
        """The whole text; the parts become one, so asking again is free until something is added."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0]
