"""A toy text environment for the tests of what all text environments have in common."""

from collections.abc import Mapping
from typing import Any

from stepopsd_envs.step_info import text_hash
from stepopsd_envs.text_env import Outcome, TextEnv


class Countdown(TextEnv):
    """Say "down" until the number is 0."""

    task_option = "number"

    def __init__(self, step_limit: int = 20, render_mode: str | None = None) -> None:
        super().__init__(step_limit=step_limit, render_mode=render_mode)
        self.number = 0

    @property
    def fingerprint(self) -> str:
        """Always the same numbers."""
        return "countdown"

    def _begin(self, options: Mapping[str, Any]) -> tuple[str, str]:
        self.number = options["number"] if "number" in options else int(self.np_random.integers(5, 1000))
        return f"from/{self.number}", f"The number is {self.number}."

    def _act(self, action: str) -> Outcome:
        if action != "down":
            return Outcome("Nothing happens.", "invalid", 0.0, False)
        self.number -= 1
        won = self.number == 0
        return Outcome(f"The number is {self.number}.", "act", float(won), won)

    def _facts(self) -> dict[str, Any]:
        return {"won": self.number == 0, "admissible_commands": ["down"], "about": {"number": self.number}}

    def _state_hash(self) -> str:
        return text_hash(str(self.number))

    def _save(self) -> Any:
        return self.number

    def _load(self, task_id: str, state: Any) -> None:
        self.number = state
