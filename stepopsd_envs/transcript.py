"""The text of one episode, an append-only string."""


class Transcript:
    """Text in parts with a running length, so that appending takes constant time in any episode."""

    def __init__(self, text: str = "") -> None:
        self._parts = [text]
        self._length = len(text)

    def add(self, text: str) -> tuple[int, int]:
        """Append ``text`` and return its span (start, end): ``str(self)[start:end] == text``."""
        start = self._length
        self._parts.append(text)
        self._length += len(text)
        return start, self._length

    def __len__(self) -> int:
        """Length in code points."""
        return self._length

    def __str__(self) -> str:
        """The whole text; the parts are joined once, so a second call without an ``add`` between is free."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0]
