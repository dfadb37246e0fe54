"""The reference: the original ALFWorld and TextWorld packages behind the interface of the native engine.

Needs the extra ``alfworld``. The original plays the file itself, with ALFWorld's names for things; a game
that has no file is exported to a temporary one. It takes seconds to load a game and a tenth of a second per
command, and it cannot go back: `replay` brings it to an earlier point by playing the commands again, and
pickling and copying do so too.

The state is read from TextWorld's own facts and is the same as the native engine's, hash and all.
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

_STATES = {"clean": "isclean", "hot": "ishot", "cool": "iscool", "sliced": "issliced", "toggled": "istoggled"}

# The original's environments whose game is over. Each has mapped a library of its own and never lets go of
# it, so they are used again, as the original does when it goes on to another game.
_SPARE: list[Any] = []


class TextworldEngine:
    """One game in play, as the native `Engine` but for `set_state`, in whose stead there is `replay`."""

    def __init__(
        self, game: Game, file: str | Path | None = None, names: Mapping[str, str] | None = None
    ) -> None:
        """Load a game; call `reset()` to begin.

        Args:
            game: the game as it was read or generated.
            file: where it was read from; None for a game that was generated.
            names: other names for its things, as of `renumbering.new_names`.
        """
        self._source, self._file, self._names = game, file, dict(names or {})
        self.game = renamed(game, self._names)
        self._env = _load(game, file)
        for info in self._env._entity_infos.values():  # as ALFWorld's own wrapper sets them
            info.name = self._names.get(info.name, info.name)
        self._numbers = _numbers(self._env._entity_infos.values())
        self._state: Mapping[str, Any] = {}  # what TextWorld said last
        self._played: list[str] = []
        weakref.finalize(self, _SPARE.append, self._env)

    def __getstate__(self) -> dict[str, Any]:
        """What pickling and copying keep: how to make it again."""
        arguments = {"game": self._source, "file": self._file, "names": self._names}
        return {"arguments": arguments, "played": self._played if self._state else None}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        """Load the game and play the commands again."""
        self.__init__(**kept["arguments"])  # type: ignore[misc]  # unpickling gives an instance without __init__
        if kept["played"] is not None:
            self.replay(kept["played"])

    def reset(self) -> str:
        """Start again from the beginning; the opening text with the room and the task."""
        with _unchanged_arguments():
            self._state = self._env.reset()
        self._played = []
        return str(self._state["feedback"])

    def step(self, command: str) -> str:
        """Carry out a command; the feedback. A command that is not admissible changes nothing."""
        possible = command.strip() in self._state["admissible_commands"]
        self._state, _, _ = self._env.step(command)
        if possible:
            self._played.append(command.strip())
        return str(self._state["feedback"])

    def replay(self, commands: Iterable[str]) -> None:
        """Start again and play these commands."""
        self.reset()
        for command in commands:
            self.step(command)

    @property
    def played(self) -> tuple[str, ...]:
        """The commands since the reset that did something; `replay` leads back here with them."""
        return tuple(self._played)

    @property
    def won(self) -> bool:
        """Whether the goal holds now; it may cease to hold later."""
        return bool(self._state["won"])

    @property
    def done(self) -> bool:
        """Whether TextWorld says that the game is over, which is when it is won; it plays on all the same."""
        return bool(self._state.get("done", False))  # TextWorld says nothing of it after a reset

    def admissible_commands(self) -> list[str]:
        """All commands that do something now, sorted; a fresh list."""
        return list(self._state["admissible_commands"])

    def get_state(self) -> EngineState:
        """The state now, as the native engine has it."""
        return _read_state(self.game, self._numbers, self._state["_facts"])

    def state_hash(self) -> str:
        """Hash of the state alone: that of the native engine in an equal state."""
        return state_hash(self.get_state())


def require_textworld() -> tuple[Any, Any, Any]:
    """The classes of the original that are used; a DependencyNotInstalled without the packages."""
    try:
        import fast_downward  # noqa: F401  # without it PddlEnv can be imported but not made
        from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
        from textworld import EnvInfos
        from textworld.envs import PddlEnv
    except ImportError as error:
        raise DependencyNotInstalled(
            f'engine="textworld" plays on the original packages, which cannot be imported ({error}): '
            "pip install 'stepopsd[alfworld]', or use engine=\"native\", which gives the same answers"
        ) from error
    return AlfredDemangler, PddlEnv, EnvInfos


def _load(game: Game, file: str | Path | None) -> Any:
    """An environment of the original that has loaded the game."""
    demangler, pddl_env, infos = require_textworld()
    told = infos(won=True, admissible_commands=True)
    env = _SPARE.pop() if _SPARE else demangler(pddl_env(told), shuffle=False)
    contents = _contents(game, file)
    try:
        with _unchanged_arguments():
            env.load(contents)
    except (Exception, SystemExit) as error:  # its parsers raise what they like, and some exit
        problem = f"TextWorld cannot play it ({type(error).__name__}: {error})"
        raise GameFileError(str(file or game.task_id), "", problem, 'play it with engine="native"') from error
    return env


def _contents(game: Game, file: str | Path | None) -> Any:
    """What stands in the game's file. The original takes that too; a file that it opens it leaves open."""
    if file is not None:
        return json.loads(Path(file).read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        return json.loads(export_game(game, Path(folder) / "game.tw-pddl").read_bytes())


@contextmanager
def _unchanged_arguments() -> Iterator[None]:
    """Keep the arguments of this program, which the original's PDDL translator overwrites."""
    arguments = sys.argv
    try:
        yield
    finally:
        sys.argv = arguments


def _numbers(infos: Iterable[Any]) -> dict[str, dict[str, int]]:
    """Per type, the number of each id: things are numbered in the order of their ids."""
    numbers: dict[str, dict[str, int]] = {}
    for info in sorted(infos, key=lambda info: info.id):
        of_type = numbers.setdefault(info.type, {})
        of_type[info.id] = len(of_type)
    return numbers


def _read_state(game: Game, numbers: Mapping[str, Mapping[str, int]], facts: Iterable[Any]) -> EngineState:
    """The state that TextWorld's facts describe."""
    found: dict[str, list[list[int]]] = {}
    for fact in facts:
        found.setdefault(fact.name, []).append([numbers[of.type][of.name] for of in fact.arguments])
    receptacles, places = range(len(game.receptacles)), range(len(game.location_names))

    def having(predicate: str, owners: range) -> tuple[int, ...]:
        pairs = found.get(predicate, [])
        return tuple(mask(item for item, at in pairs if at == owner) for owner in owners)

    def those(predicate: str) -> int:
        return mask(number for (number,) in found.get(predicate, []))

    return EngineState(
        location=found["atlocation"][0][1],
        held=next((item for _, item in found.get("holds", [])), -1),
        opened=those("opened"),
        contents=having("inreceptacle", receptacles),
        taken=having("not_inreceptacle", receptacles),
        present=having("objectatlocation", places),
        **{state: those(predicate) for state, predicate in _STATES.items()},
    )
