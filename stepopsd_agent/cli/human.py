"""A person as an agent: ``--agent human``."""

from typing import Any

from stepopsd_agent.cli.keyboard import ask, completes, show, show_list, use_keyboard
from stepopsd_wrappers import Episode

QUIT, HISTORY, LIST = ":quit", ":history", "?"
"""Inputs for the player, which are not passed to the environment."""


class HumanAgent:
    """An `Agent` that shows a person what any agent is shown, and reads actions from the keyboard."""

    def __init__(self) -> None:
        use_keyboard()
        self._history: list[tuple[str, str]] = []
        self._action_given: str | None = None

    def reset(self, seed: int, observation: str, info: dict[str, Any]) -> None:
        """Begin an episode."""
        self._history, self._action_given = [], None
        tab = ", the tab key completes them" if completes() else ""
        listed = f"type a command or its number, {LIST} lists them{tab}; " if _commands(info) else ""
        show(f"\n{'=' * 40}\n{observation}\n\n({listed}{HISTORY} shows the episode so far, {QUIT} leaves)")
        self._list(info)

    def act(self, observation: str, info: dict[str, Any]) -> str:
        """The next action.

        Raises:
            KeyboardInterrupt: the person leaves.
        """
        if self._action_given is not None:
            self._history.append((self._action_given, observation))
            valid = info.get("step", {}).get("valid", True)
            show(f"\n{observation}" + ("" if valid else "\n(that command is not possible here)"))
            self._list(info)
        self._action_given = self._action(_commands(info), info)
        return self._action_given

    def _action(self, commands: list[str], info: dict[str, Any]) -> str:
        while True:
            show(f"\n[{info.get('goal', '')}]")
            line = ask(commands)
            if line is None or line == QUIT:
                raise KeyboardInterrupt
            if line == HISTORY:
                show(
                    "\n".join(f"> {action}\n{answer}" for action, answer in self._history) or "(nothing yet)"
                )
            elif line == LIST and commands:
                self._list(info)
            elif line.startswith(":"):
                show(f"there is no {line}; {HISTORY} shows the episode so far, {QUIT} leaves")
            elif commands and line.removeprefix("-").isdecimal():
                if 1 <= int(line) <= len(commands):
                    return commands[int(line) - 1]
                show(f"there is no command {line}; give a number from 1 to {len(commands)}")
            elif line:
                return line

    def _list(self, info: dict[str, Any]) -> None:
        show_list([f"{number}: {command}" for number, command in enumerate(_commands(info), start=1)])


def show_end(episode: Episode) -> None:
    """Show the last observation, after which no agent acts any more, and how the episode ended."""
    last = episode.steps[-1]
    outcome = f"ended by an error: {last.error}" if last.error else "won" if episode.success else "not won"
    show(f"\n{last.observation}\n({outcome}, {episode.num_steps} steps)")


def _commands(info: dict[str, Any]) -> list[str]:
    """Return the admissible commands; an empty list where the environment takes any text."""
    return list(info.get("admissible_commands", []))
