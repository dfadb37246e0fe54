"""The reference engine: the original ALFWorld and TextWorld packages behind the native engine's interface.

It needs the extra ``alfworld``. The original plays the game file, with ALFWorld's names for things; a game
without a file is exported to a temporary one. Loading a game takes seconds, a command a tenth of a second.
The original cannot restore a state: `replay` reaches an earlier state by playing the commands again; pickling
and copying do the same.

The state is read from TextWorld's facts and equals the state of the native engine, including its hash.
"""

import json
import sys
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gymnasium.error import DependencyNotInstalled

from stepopsd_envs.alfworld.errors import GameFileError
from stepopsd_envs.alfworld.export import export_game
from stepopsd_envs.alfworld.model import Game
from stepopsd_envs.alfworld.renumbering import renamed
from stepopsd_envs.alfworld.world import EngineState, mask, state_hash
from stepopsd_envs.extras import install_command
from stepopsd_envs.plain_file import plain_file

_STATES = {"clean": "isclean", "hot": "ishot", "cool": "iscool", "sliced": "issliced", "toggled": "istoggled"}

# Environments of the original that are free to be reused. Each one maps a private copy of a library and never
# releases it, so they are used again, as the original does when it loads the next game.
_SPARE: list[Any] = []


class TextworldEngine:
    """One game in play; same interface as the native `Engine`, but with `replay` instead of `set_state`."""

    def __init__(
        self, game: Game, file: str | Path | None = None, names: Mapping[str, str] | None = None
    ) -> None:
        """Load a game; call `reset()` to begin.

        Args:
            game: the game as read or generated.
            file: the file of the game; None for a generated game.
            names: new names of its things, from `renumbering.new_names`.

        Raises:
            GameFileError: TextWorld cannot play the game.
            DependencyNotInstalled: the packages are missing.
        """
        self._source, self._file, self._names = game, file, dict(names or {})
        self.game = renamed(game, self._names)
        self._env = _load(game, file)
        for info in self._env._entity_infos.values():  # as ALFWorld's wrapper sets them
            info.name = self._names.get(info.name, info.name)
        self._numbers = _numbers(self._env._entity_infos.values())
        self._state: Mapping[str, Any] = {}  # TextWorld's last answer
        self._played: list[str] = []
        weakref.finalize(self, _SPARE.append, self._env)

    def __getstate__(self) -> dict[str, Any]:
        """Constructor arguments and played commands, for pickling and copying."""
        arguments = {"game": self._source, "file": self._file, "names": self._names}
        return {"arguments": arguments, "played": self._played if self._state else None}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        """Load the game and replay the commands."""
        self.__init__(**kept["arguments"])  # type: ignore[misc]  # unpickling gives an instance without __init__
        if kept["played"] is not None:
            self.replay(kept["played"])

    def reset(self) -> str:
        """Return to the start; return the opening text with the room and the task."""
        with _unchanged_arguments():
            self._state = self._env.reset()
        self._played = []
        return str(self._state["feedback"])

    def step(self, command: str) -> str:
        """Execute a command and return its feedback. A command that is not admissible changes nothing."""
        possible = command.strip() in self._state["admissible_commands"]
        self._state, _, _ = self._env.step(command)
        if possible:
            self._played.append(command.strip())
        return str(self._state["feedback"])

    def replay(self, commands: Iterable[str]) -> None:
        """Return to the start and play these commands."""
        self.reset()
        for command in commands:
            self.step(command)

    @property
    def played(self) -> tuple[str, ...]:
        """The admissible commands played since the reset; `replay` with them gives the current state."""
        return tuple(self._played)

    @property
    def won(self) -> bool:
        """Whether the goal holds now; a later command may undo it."""
        return bool(self._state["won"])

    @property
    def done(self) -> bool:
        """TextWorld's flag that the game is over, which it sets when the game is won; play can continue."""
        return bool(self._state.get("done", False))  # missing after a reset

    def admissible_commands(self) -> list[str]:
        """All commands that are admissible now, sorted, as a new list."""
        return list(self._state["admissible_commands"])

    def get_state(self) -> EngineState:
        """The current state, equal to that of the native engine."""
        return _read_state(self.game, self._numbers, self._state["_facts"])

    def state_hash(self) -> str:
        """Hash of the current state, equal to that of the native engine."""
        return state_hash(self.get_state())


def require_textworld() -> tuple[Any, Any, Any]:
    """Import the classes of the original: AlfredDemangler, PddlEnv and EnvInfos.

    Raises:
        DependencyNotInstalled: a package is missing.
    """
    try:
        import fast_downward  # noqa: F401  # PddlEnv can be imported without it, but not instantiated
        from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
        from textworld import EnvInfos
        from textworld.envs import PddlEnv
    except ImportError as error:
        raise DependencyNotInstalled(
            f'engine="textworld" plays on the original packages, which cannot be imported ({error}): '
            f'{install_command("alfworld")}, or use engine="native", which gives the same answers'
        ) from error
    return AlfredDemangler, PddlEnv, EnvInfos


def _load(game: Game, file: str | Path | None) -> Any:
    """An environment of the original that has loaded the game."""
    demangler, pddl_env, infos = require_textworld()
    requested = infos(won=True, admissible_commands=True)
    env = _SPARE.pop() if _SPARE else demangler(pddl_env(requested), shuffle=False)
    contents = _contents(game, file)
    try:
        with _unchanged_arguments():
            env.load(contents)
    except (Exception, SystemExit) as error:  # its parsers raise errors of any kind, and some exit
        problem = f"TextWorld cannot play it ({type(error).__name__}: {error})"
        raise GameFileError(str(file or game.task_id), "", problem, 'play it with engine="native"') from error
    return env


def _contents(game: Game, file: str | Path | None) -> Any:
    """The content of the game's file; the original would leave a file open that it opened itself."""
    if file is not None:
        return json.loads(plain_file(file).read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        return json.loads(export_game(game, Path(folder) / "game.tw-pddl").read_bytes())


@contextmanager
def _unchanged_arguments() -> Iterator[None]:
    """Restore ``sys.argv``, which the original's PDDL translator overwrites."""
    arguments = sys.argv
    try:
        yield
    finally:
        sys.argv = arguments


def _numbers(infos: Iterable[Any]) -> dict[str, dict[str, int]]:
    """Per type, the index of each id: things are numbered in the order of their ids."""
    numbers: dict[str, dict[str, int]] = {}
    for info in sorted(infos, key=lambda info: info.id):
        of_type = numbers.setdefault(info.type, {})
        of_type[info.id] = len(of_type)
    return numbers


def _read_state(game: Game, numbers: Mapping[str, Mapping[str, int]], facts: Iterable[Any]) -> EngineState:
    """The state that TextWorld's facts describe."""
    by_name: dict[str, list[list[int]]] = {}
    for fact in facts:
        by_name.setdefault(fact.name, []).append([numbers[of.type][of.name] for of in fact.arguments])
    receptacles, places = range(len(game.receptacles)), range(len(game.location_names))

    def having(predicate: str, owners: range) -> tuple[int, ...]:
        pairs = by_name.get(predicate, [])
        return tuple(mask(item for item, at in pairs if at == owner) for owner in owners)

    def those(predicate: str) -> int:
        return mask(number for (number,) in by_name.get(predicate, []))

    return EngineState(
        location=by_name["atlocation"][0][1],
        held=next((item for _, item in by_name.get("holds", [])), -1),
        opened=those("opened"),
        contents=having("inreceptacle", receptacles),
        taken=having("not_inreceptacle", receptacles),
        present=having("objectatlocation", places),
        **{state: those(predicate) for state, predicate in _STATES.items()},
    )
