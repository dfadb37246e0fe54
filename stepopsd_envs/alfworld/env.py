"""``stepopsd/ALFWorld-v0``: household tasks in text, official or generated, on the native engine."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from stepopsd_envs.alfworld.engine import Engine
from stepopsd_envs.alfworld.game import TASK_TYPES, Game
from stepopsd_envs.alfworld.official import PathLike, find_files
from stepopsd_envs.alfworld.pools import GENERATED, FilePool, GamePool, GeneratedPool, require_one_of
from stepopsd_envs.alfworld.world import EngineState
from stepopsd_envs.step_info import Kind
from stepopsd_envs.text_env import Outcome, TextEnv

ENGINES = ("native",)


class AlfworldEnv(TextEnv):
    """Find, treat and place objects in a household, by commands such as ``take mug 1 from desk 2``.

    Args:
        games: ``"generated"``, an official split (``train``, ``valid_seen``, ``valid_unseen``), a folder, a
            file, or a list of files.
        data_root: where the official splits are; None means ``$ALFWORLD_DATA``, else ``~/.cache/alfworld``.
        engine: ``"native"``, which answers as TextWorld does.
        tier: size of generated games: ``"tiny"``, ``"small"`` or ``"full"``. Other games have no tier.
        split: ``"train"`` or ``"test"``: disjoint sets of generated games. Other games have no such split.
        task_types: play only games of these types; None plays all six.
        num_games: play only the first so many games in canonical order, after ``task_types``. None plays all
            that were found; of generated games, 10,000 for train and 1,000 for test.
        admissible: list the possible commands in ``info["admissible_commands"]``; else that stays empty.
        step_limit: number of steps after which an episode is truncated.
        render_mode: None, ``"ansi"`` or ``"human"``.

    The reward is 1.0 with the step that wins, else 0.0. ``reset(options={"game": ...})`` plays the
    game of that task id or path; without it a game is drawn with ``np_random``.
    """

    option_names: ClassVar[frozenset[str]] = frozenset({"game"})

    def __init__(
        self,
        games: PathLike | Sequence[PathLike] = GENERATED,
        data_root: PathLike | None = None,
        engine: str = "native",
        tier: str = "small",
        split: str = "train",
        task_types: Sequence[str] | None = None,
        num_games: int | None = None,
        admissible: bool = True,
        step_limit: int = 50,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(step_limit=step_limit, render_mode=render_mode)
        require_one_of("engine", engine, ENGINES)
        types = _checked_types(task_types)
        if num_games is not None and (type(num_games) is not int or num_games < 1):
            raise ValueError(f"num_games={num_games!r}: give None or a positive number of games")
        self._pool: GamePool
        if games == GENERATED:
            self._pool = GeneratedPool(tier, split, types, num_games)
        else:
            self._pool = FilePool(find_files(games, data_root), types, num_games)
        self._show_admissible = admissible
        self._engine: Engine | None = None
        self._name = ""  # the id or path by which the game was named, to find it again
        self._admissible: list[str] = []  # now
        self._won = False

    @property
    def task_ids(self) -> tuple[str, ...]:
        """The games that ``reset`` draws from, in canonical order."""
        return self._pool.task_ids

    @property
    def fingerprint(self) -> str:
        """Hash of the games that ``reset`` draws from: their ids and contents."""
        return self._pool.fingerprint

    def __getstate__(self) -> dict[str, Any]:
        """For pickling and copying: of the engine, game and state, without the compiled texts."""
        engine = self._engine
        return {**self.__dict__, "_engine": None if engine is None else (engine.game, engine.get_state())}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Compile the engine's texts again."""
        self.__dict__.update(state)
        self._engine = None if state["_engine"] is None else _engine_at(*state["_engine"])

    def _begin(self, options: Mapping[str, Any]) -> tuple[str, str]:
        if "game" in options:
            name = os.fspath(options["game"])
        else:
            name = self.task_ids[int(self.np_random.integers(len(self.task_ids)))]
        self._engine = engine = Engine(self._pool.game(name))
        self._name = name
        opening = engine.reset()
        self._look()
        return engine.game.task_id, opening

    def _act(self, action: str) -> Outcome:
        engine = self._playing()
        kind: Kind = "act" if action.strip() in self._admissible else "invalid"
        observation = engine.step(action)
        self._look()
        return Outcome(observation, kind, float(self._won), self._won)

    def _facts(self) -> dict[str, Any]:
        game = self._playing().game
        return {
            "won": self._won,
            "admissible_commands": self._admissible.copy() if self._show_admissible else [],
            "task_type": game.task_type,
            "task_id": game.task_id,
            "goal": game.goal,
            "optimal_distance": -1,
        }

    def _state_hash(self) -> str:
        return self._playing().state_hash()

    def _save(self) -> Any:
        engine = self._playing()
        return {"game": self._name, "content": engine.game.content_hash, "engine": list(engine.get_state())}

    def _load(self, task_id: str, state: Any) -> None:
        game = self._pool.game(state["game"])
        if game.content_hash != state["content"]:
            raise ValueError(
                f"the snapshot is of another version of game {task_id}; use the data it was taken with"
            )
        self._engine = _engine_at(game, EngineState.from_json(state["engine"]))
        self._name = state["game"]
        self._look()

    def _look(self) -> None:
        """Note what the engine is asked for more than once per step."""
        engine = self._playing()
        self._admissible, self._won = engine.admissible_commands(), engine.won

    def _playing(self) -> Engine:
        assert self._engine is not None  # TextEnv asks only after a reset
        return self._engine


def _engine_at(game: Game, state: EngineState) -> Engine:
    engine = Engine(game)
    engine.set_state(state)
    return engine


def _checked_types(task_types: Sequence[str] | None) -> frozenset[str] | None:
    if task_types is None:
        return None
    types = frozenset([task_types] if isinstance(task_types, str) else task_types)
    unknown = sorted(map(repr, types - frozenset(TASK_TYPES)))
    if unknown or not types:
        got = ", ".join(unknown) or "an empty list"
        raise ValueError(f"task_types has {got}: give None or some of {', '.join(TASK_TYPES)}")
    return types
