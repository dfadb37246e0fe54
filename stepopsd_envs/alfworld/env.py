"""``stepopsd/ALFWorld-v0``: household tasks in text, on official or generated games."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

from gymnasium.error import ResetNeeded

from stepopsd_envs.alfworld.engine import Engine
from stepopsd_envs.alfworld.game import TASK_TYPES, Game
from stepopsd_envs.alfworld.official import PathLike, find_files
from stepopsd_envs.alfworld.oracle import Oracle
from stepopsd_envs.alfworld.pools import GENERATED, FilePool, GamePool, GeneratedPool, require_one_of
from stepopsd_envs.alfworld.renumbering import new_names, renamed
from stepopsd_envs.alfworld.rewards import REWARDS, Reward, Success, make_reward
from stepopsd_envs.alfworld.textworld_backend import TextworldEngine, require_textworld
from stepopsd_envs.alfworld.versions import engine_version
from stepopsd_envs.alfworld.world import EngineState
from stepopsd_envs.argument_types import require_bools, require_path, texts_of
from stepopsd_envs.near_names import did_you_mean
from stepopsd_envs.step_info import Kind
from stepopsd_envs.text_env import Outcome, TextEnv

ENGINES = ("native", "textworld")


class AlfworldEnv(TextEnv):
    """Find, treat and place objects in a household, with commands such as ``take mug 1 from desk 2``.

    Args:
        games: ``"generated"``, an official split (``train``, ``valid_train``, ``valid_seen``,
            ``valid_unseen``), a folder, a file, or a list of files and folders.
        data_root: folder of the official splits; None: ``$ALFWORLD_DATA``, else ``~/.cache/alfworld``.
        engine: ``"native"``, which gives the same answers as TextWorld, or ``"textworld"``: the original
            packages (extra ``alfworld``), a thousand times slower; they restore a snapshot by replaying its
            commands.
        tier: size of generated games: ``"tiny"``, ``"small"`` or ``"full"``. Ignored for other games.
        split: ``"train"`` or ``"test"``: disjoint sets of generated games. Ignored for other games.
        task_types: play only games of these types; None plays all six.
        num_games: play only the first ``num_games`` games in canonical order, after ``task_types``. None
            plays all; of generated games, 10,000 for train and 1,000 for test.
        oracle: report the least number of commands to win in ``info["optimal_distance"]``, -2 if the game can
            no longer be won. If False, the value stays -1. The property ``oracle`` exists in either case.
        admissible: list the admissible commands in ``info["admissible_commands"]``; else the list is empty.
        reward: ``"success"``: 1.0 at the step that wins, else 0.0; ``"goal_conditions"``: the share of the
            goal's conditions newly met; ``"optimal_distance"``: success shaped by the distance to winning.
        domain_randomization: renumber the things of each kind in every episode, as a function of task and
            seed: "mug 1" and "mug 2" may swap names.
        step_limit: number of steps after which an episode is truncated.
        render_mode: None, ``"ansi"``, ``"human"`` or ``"rgb_array"``.

    ``reset(options={"game": ...})`` plays the game with this task id or path; without it a game is drawn from
    ``np_random``.

    Raises:
        ValueError: an argument has a value that is not allowed; the message lists the allowed ones.
        GamesNotFoundError: there are no such games.
        GameFileError: one of them is damaged, or cannot be played.
        DependencyNotInstalled: ``engine="textworld"`` without its packages.
    """

    task_option: ClassVar[str] = "game"

    def __init__(
        self,
        games: PathLike | Sequence[PathLike] = GENERATED,
        data_root: PathLike | None = None,
        engine: Literal["native", "textworld"] = "native",
        tier: Literal["tiny", "small", "full"] = "small",
        split: Literal["train", "test"] = "train",
        task_types: Sequence[str] | None = None,
        num_games: int | None = None,
        oracle: bool = False,
        admissible: bool = True,
        reward: Literal["success", "goal_conditions", "optimal_distance"] = "success",
        domain_randomization: bool = False,
        step_limit: int = 50,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(step_limit=step_limit, render_mode=render_mode)
        require_one_of("engine", engine, ENGINES)
        require_one_of("reward", reward, REWARDS)
        require_bools(oracle=oracle, admissible=admissible, domain_randomization=domain_randomization)
        types = _checked_types(texts_of("task_types", task_types, TASK_TYPES[0]))
        if data_root is not None:
            require_path("data_root", data_root, "None or a folder")
        if num_games is not None and (type(num_games) is not int or num_games < 1):
            raise ValueError(f"num_games={num_games!r}: give None or a positive number of games")
        self._pool: GamePool
        if games == GENERATED:
            self._pool = GeneratedPool(tier, split, types, num_games)
        else:
            self._pool = FilePool(find_files(games, data_root), types, num_games)
        self._engine_name = engine
        if engine == "textworld":
            require_textworld()
        self._show_distance, self._show_admissible = oracle, admissible
        self._reward_name = reward
        self._reward: Reward = Success()  # of the current episode
        self._domain_randomization = domain_randomization
        self._engine: Engine | TextworldEngine | None = None
        self._chosen: _Chosen | None = None
        self._admissible: list[str] = []  # admissible commands of the current state
        self._won = False

    @property
    def task_ids(self) -> tuple[str, ...]:
        """The games that ``reset`` draws from, in canonical order."""
        return self._pool.task_ids

    @property
    def fingerprint(self) -> str:
        """Hash of the games that ``reset`` draws from: their ids and contents."""
        return self._pool.fingerprint

    @property
    def engine_version(self) -> str:
        """Name and version of the engine; part of every record: another engine may answer differently."""
        return engine_version(self._engine_name)

    @property
    def oracle(self) -> Oracle:
        """Optimal play from the current state: ``distance()``, ``plan()`` and ``best_commands()``.

        Raises:
            ResetNeeded: there was no reset yet.
        """
        if self._engine is None:
            raise ResetNeeded("oracle before the first reset(): call reset() to begin an episode")
        return Oracle(self._engine)

    def _begin(self, options: Mapping[str, Any]) -> tuple[str, str]:
        if "game" in options:
            name = self._task_named(options)
        else:
            name = self.task_ids[int(self.np_random.integers(len(self.task_ids)))]
        numbering = self._coming_seed() if self._domain_randomization else None
        chosen = _Chosen(name, self._pool.game(name), numbering)
        engine = self._make_engine(chosen)
        opening = engine.reset()
        self._engine, self._chosen = engine, chosen
        self._reward = make_reward(self._reward_name, engine)
        self._look()
        return engine.game.task_id, opening

    def _act(self, action: str) -> Outcome:
        engine = self._playing()
        kind: Kind = "act" if action.strip() in self._admissible else "invalid"
        observation = engine.step(action)
        self._look()
        reward = self._reward.pay(self._won, over=self._won or self._remaining == 1)
        return Outcome(observation, kind, reward, self._won)

    def _facts(self) -> dict[str, Any]:
        game = self._playing().game
        return {
            "won": self._won,
            "admissible_commands": self._admissible.copy() if self._show_admissible else [],
            "task_type": game.task_type,
            "task_id": game.task_id,
            "goal": game.goal,
            "optimal_distance": self.oracle.distance() if self._show_distance else -1,
        }

    def _state_hash(self) -> str:
        return self._playing().state_hash()

    def _save(self) -> Any:
        engine, chosen = self._playing(), self._chosen
        assert chosen is not None  # as there is an engine
        return {
            "game": chosen.name,
            "content": chosen.game.content_hash,
            "numbering": chosen.numbering,
            "engine": list(engine.get_state()),
            "played": list(engine.played) if isinstance(engine, TextworldEngine) else None,
            "reward": self._reward.kept(),
        }

    def _load(self, task_id: str, state: Any) -> None:
        chosen = _Chosen(state["game"], self._pool.game(state["game"]), state["numbering"])
        if chosen.game.content_hash != state["content"]:
            raise ValueError(
                f"the snapshot is of another version of game {task_id}; use the data that it was taken with"
            )
        engine = self._make_engine(chosen)
        if isinstance(engine, Engine):
            engine.set_state(EngineState.from_json(state["engine"]))
        elif state["played"] is not None:
            engine.replay(state["played"])
        else:
            raise ValueError(
                'the snapshot was taken with engine="native" and does not hold the commands that led to it, '
                'which engine="textworld" replays: pass a snapshot taken with engine="textworld"'
            )
        self._reward = make_reward(self._reward_name, engine, state["reward"])
        self._engine, self._chosen = engine, chosen
        self._look()

    def _make_engine(self, chosen: "_Chosen") -> Engine | TextworldEngine:
        names = {} if chosen.numbering is None else new_names(chosen.game, chosen.numbering)
        if self._engine_name == "textworld":
            return TextworldEngine(chosen.game, self._pool.path(chosen.name), names)
        return Engine(renamed(chosen.game, names))

    def _look(self) -> None:
        """Compute once per step what is used several times."""
        engine = self._playing()
        self._admissible, self._won = engine.admissible_commands(), engine.won

    def _playing(self) -> Engine | TextworldEngine:
        assert self._engine is not None  # TextEnv asks only after a reset
        return self._engine


class _Chosen(NamedTuple):
    """The game of an episode."""

    name: str  # its id or path
    game: Game  # as read or generated, before renumbering
    numbering: int | None  # seed of the renumbering; None keeps the numbers


def _checked_types(task_types: Sequence[str] | None) -> frozenset[str] | None:
    if task_types is None:
        return None
    types = frozenset(task_types)
    unknown = sorted(types - frozenset(TASK_TYPES))
    if unknown or not types:
        got = ", ".join(map(repr, unknown)) or "an empty list"
        hint = did_you_mean(unknown[0], TASK_TYPES) if unknown else ""
        raise ValueError(f"task_types has {got}: {hint}give None or some of {', '.join(TASK_TYPES)}")
    return types
