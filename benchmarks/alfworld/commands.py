"""Seeded commands for comparing engines: a walkthrough, mixed with random and malformed commands."""

from collections.abc import Iterator, Sequence

import numpy as np

ODD_SHARE = 0.2
_DULL = ("look", "inventory", "help")  # always possible
_RESTLESS = ("take", "move", "put", "heat", "cool", "clean", "slice", "use", "open", "close", "go")


class Player:
    """Chooses the commands of one episode; equal seeds and answers give equal commands.

    Two of three seeds play the walkthrough before moving anything, so that the goal is reached; the third
    plays it late. All continue afterwards.
    """

    def __init__(self, seed: int, walkthrough: Sequence[str]) -> None:
        """Draw the plan of the episode."""
        self._rng = np.random.default_rng([2026, seed])
        self._seen: list[str] = ["look"]
        late = [*["random"] * 24, *walkthrough, *["random"] * 12]
        soon = [*walkthrough, *["random"] * 24, *walkthrough[-2:], *["random"] * 6]
        calm = [part for command in walkthrough for part in (*["calm"] * int(self._rng.integers(3)), command)]
        self._plan = (late, soon, [*calm, *["random"] * 24])[seed % 3]

    def commands(self) -> Iterator[str]:
        """The plan: commands, and "random" or "calm" for a command that `choose` draws."""
        yield from self._plan

    def choose(self, planned: str, admissible: Sequence[str]) -> str:
        """The command for an entry of the plan, given the admissible commands."""
        if planned not in ("random", "calm"):
            return planned
        possible = list(admissible)
        if planned == "calm":
            possible = [command for command in possible if command.split(" ")[0] not in _RESTLESS]
        verbs = sorted({command.split(" ")[0] for command in possible})
        verb = self._pick([verb for verb in verbs for _ in range(1 if verb in _DULL else 3)])
        command = self._pick([command for command in possible if command.split(" ")[0] == verb])
        self._seen.append(command)
        if self._rng.random() >= ODD_SHARE:
            return command
        # In a calm entry, a malformed command must not be admissible by chance and move something.
        odd = self._pick(_odd(command, self._pick(self._seen), int(self._rng.integers(12))))
        return odd if planned == "random" or odd.strip() not in admissible else command

    def _pick(self, choices: Sequence[str]) -> str:
        return choices[int(self._rng.integers(len(choices)))]


def _odd(command: str, earlier: str, number: int) -> list[str]:
    """Malformed commands that people and models send: misspelt, padded, outdated, with absent things."""
    verb, _, rest = command.partition(" ")
    return [
        "",
        "   ",
        f"  {command}\t\n",
        command.upper(),
        command.capitalize(),
        f"{verb}  {rest}",
        f"{command}.",
        f"{command} {number}",
        f"{command.rstrip('0123456789')}{number}",
        f"go to cabinet {90 + number}",
        f"put {rest} in/on shelf 1",
        f"examine {rest}",
        f"close {rest}",
        earlier,
        verb,
        "l\u043eok",
        "Nothing happens.",
    ]
