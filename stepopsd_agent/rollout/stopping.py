"""Where a response ends: at an end token, or at the token that completes a stop string.

Ids stay as they were sampled. A token that goes on beyond the stop string belongs to the response whole.
"""

from collections.abc import Sequence

from stepopsd_agent.models.policy import Policy


class Stops:
    """Tells after each sampled token whether the response is over."""

    def __init__(self, policy: Policy, strings: Sequence[str] = ()) -> None:
        """End at the policy's end tokens and at these strings.

        Raises:
            ValueError: a string is empty, and would end every response before its first token.
        """
        if "" in strings:
            raise ValueError("a stop string is empty; give text to stop at, or leave it out")
        self._policy, self._ids, self._strings = policy, policy.stop_ids, tuple(strings)
        # No token shows less than a byte but special ones, which show nothing. One more for a blank that
        # some tokenizers leave out where a text begins.
        self._window = 1 + max((len(s.encode("utf-8", "surrogatepass")) for s in strings), default=0)
        self._ending: dict[int, bool] = {}

    def after(self, ids: Sequence[int]) -> bool:
        """Whether the last one of a response's ids ends it."""
        last = ids[-1]
        if last in self._ids:
            return True
        if not self._strings or not self._may_end(last):
            return False
        shown = self._policy.decode(ids[-self._window :])
        return any(string in shown for string in self._strings)

    def _may_end(self, token: int) -> bool:
        """Whether it shows the last character of a stop string, or a part of one: few tokens do."""
        if token not in self._ending:
            text = self._policy.decode([token])
            self._ending[token] = "\ufffd" in text or any(string[-1] in text for string in self._strings)
        return self._ending[token]
