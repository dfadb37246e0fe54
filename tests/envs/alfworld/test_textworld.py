"""The reference engine: the original packages give the same episodes, and are asked for by name if absent."""

import copy
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled

from stepopsd_envs.alfworld import Engine, GameFileError, load_game
from stepopsd_envs.alfworld.env import AlfworldEnv
from stepopsd_envs.alfworld.export import export_game
from stepopsd_envs.alfworld.generator import generate_game
from stepopsd_envs.alfworld.official import find_files
from stepopsd_envs.alfworld.renumbering import new_names, renamed
from stepopsd_envs.alfworld.textworld_backend import TextworldEngine
from stepopsd_envs.extras import install_command
from stepopsd_envs.testing import check_text_env
from tests.helpers.alfworld_games import kitchen
from tests.helpers.alfworld_play import make

TINY = generate_game("tiny", "train", 1)


@pytest.fixture(scope="module", autouse=True)
def no_data_folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Keep the original from making a data folder in the user's home when it is imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALFWORLD_DATA", str(tmp_path_factory.mktemp("alfworld")))
        yield


@pytest.fixture
def textworld() -> None:
    """Skip without the original packages."""
    reason = "alfworld and TextWorld are not installed (extra alfworld): no original to compare with"
    pytest.importorskip("fast_downward", reason=reason)
    pytest.importorskip("alfworld", reason=reason)


def steps(env: AlfworldEnv, commands: tuple[str, ...], **reset: Any) -> list[Any]:
    """What reset and the steps return."""
    return [env.reset(**reset), *(env.step(command) for command in commands)]


def same_play(original: TextworldEngine, native: Engine, count: int) -> None:
    """Both say the same to random commands, and are in the same states."""
    rng = np.random.default_rng(3)
    assert original.reset() == native.reset()
    for _ in range(count):
        commands = native.admissible_commands()
        assert original.admissible_commands() == commands
        assert original.get_state() == native.get_state()
        assert original.state_hash() == native.state_hash()
        command = commands[int(rng.integers(len(commands)))]
        assert original.step(command) == native.step(command)
        assert original.won == native.won == original.done


@pytest.mark.parametrize("name", ["textworld", "alfworld", "fast_downward"])
def test_engine_names_the_extra_that_is_missing(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """At construction, with the cause, and with the engine that needs nothing."""
    monkeypatch.setitem(sys.modules, name, None)  # importing it fails
    for module in [module for module in sys.modules if module.startswith(f"{name}.")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(
        DependencyNotInstalled, match=re.escape(install_command("alfworld")) + ".*engine=.native"
    ) as caught:
        make(engine="textworld")
    assert isinstance(caught.value.__cause__, ImportError)


@pytest.mark.usefixtures("textworld")
@pytest.mark.parametrize(
    "options",
    [{}, {"oracle": True, "reward": "optimal_distance"}, {"reward": "goal_conditions", "admissible": False}],
)
def test_env_gives_the_same_episode_on_both_engines(options: dict[str, Any]) -> None:
    """Observations, rewards, ends and all of `info`, odd commands included, with every option."""
    commands = ("", "Look", " look ", "go to cabinet 99", *TINY.walkthrough)
    envs = [make(engine=engine, tier="tiny", **options) for engine in ("native", "textworld")]
    native, original = (steps(env, commands, seed=4, options={"game": TINY.task_id}) for env in envs)
    assert original == native
    assert native[-1][2]  # won
    assert envs[0].fingerprint == envs[1].fingerprint
    assert envs[1].engine_version.startswith("textworld/")


@pytest.mark.usefixtures("textworld")
def test_env_plays_official_files_on_both_engines(official_games: Path) -> None:
    """The file itself, by id and by path."""
    folder = official_games / "valid_unseen"
    game = find_files(folder)[7]
    native, original = (make(engine=engine, games=folder) for engine in ("native", "textworld"))
    walkthrough = load_game(game.path).walkthrough
    expected = steps(native, walkthrough, seed=1, options={"game": game.task_id})
    assert steps(original, walkthrough, seed=1, options={"game": game.task_id}) == expected
    assert steps(original, (), seed=1, options={"game": Path(game.path)}) == expected[:1]


@pytest.mark.usefixtures("textworld")
def test_env_snapshots_and_copies_play_again() -> None:
    """Restored, pickled and copied episodes go on alike, with new numbers too, and on both engines."""
    env = make(engine="textworld", tier="tiny", domain_randomization=True)
    _, info = env.reset(seed=2)
    env.step(info["admissible_commands"][3])
    _, _, _, _, info = env.step("no command")
    snapshot = pickle.loads(pickle.dumps(env.snapshot()))
    envs = [make(engine=engine, tier="tiny") for engine in ("native", "textworld")]
    for other in envs:
        other.restore(snapshot)
    envs += [pickle.loads(pickle.dumps(env)), copy.deepcopy(env)]
    for command in info["admissible_commands"][:2]:
        expected = env.step(command)
        assert all(other.step(command) == expected for other in envs)


@pytest.mark.usefixtures("textworld")
def test_env_refuses_snapshots_of_the_native_engine() -> None:
    """A state alone does not say which commands lead there; the episode that was on goes on."""
    native, original = (make(engine=engine, tier="tiny") for engine in ("native", "textworld"))
    native.reset(seed=0)
    original.reset(seed=1)
    with pytest.raises(ValueError, match="commands that led to it"):
        original.restore(native.snapshot())
    assert original.step("inventory")[0] == "You are not carrying anything."


@pytest.mark.usefixtures("textworld")
def test_engine_numbers_anew_as_the_native_one() -> None:
    """The order of the lists stays, only names change."""
    names = new_names(TINY, 8)
    assert any(old != new for old, new in names.items())
    same_play(TextworldEngine(TINY, names=names), Engine(renamed(TINY, names)), 12)


@pytest.mark.usefixtures("textworld")
def test_engine_plays_exported_households() -> None:
    """With vessels, things outside of receptacles, and two receptacles at one place."""
    same_play(TextworldEngine(kitchen()), Engine(kitchen()), 25)


@pytest.mark.usefixtures("textworld")
def test_engine_leaves_the_program_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The original's translator overwrites the arguments of the program; they are put back."""
    monkeypatch.setattr(sys, "argv", ["program", "--flag"])
    engine = TextworldEngine(TINY)
    engine.reset()
    assert sys.argv == ["program", "--flag"]


@pytest.mark.usefixtures("textworld")
def test_engines_do_not_disturb_each_other() -> None:
    """Two games at once, and one after another in what the first left behind."""
    games = [TINY, generate_game("tiny", "train", 2)]
    engines = [TextworldEngine(game) for game in games]
    assert [engine.reset() for engine in engines] == [Engine(game).reset() for game in games]
    del engines
    same_play(TextworldEngine(games[0]), Engine(games[0]), 5)


@pytest.mark.usefixtures("textworld")
def test_engine_says_what_the_original_cannot_play(old_official_games: Path) -> None:
    """An old release has a game on which it fails; the native engine plays it."""
    (path,) = old_official_games.glob(
        "**/look_at_obj_in_light-RemoteControl-None-FloorLamp-219/*/game.tw-pddl"
    )
    game = load_game(path)
    with pytest.raises(GameFileError, match=r"TextWorld cannot play it .KeyError.*native") as caught:
        TextworldEngine(game, path)
    assert caught.value.path == str(path)
    assert Engine(game).reset()


@pytest.mark.usefixtures("textworld")
def test_original_names_things_of_exported_files_alike(tmp_path: Path) -> None:
    """Also without this package: ALFWorld's own wrapper, on the file."""
    from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
    from textworld import EnvInfos
    from textworld.envs import PddlEnv

    env = AlfredDemangler(PddlEnv(EnvInfos(won=True, admissible_commands=True)))
    env.load(str(export_game(TINY, tmp_path / "game.tw-pddl")))
    state = env.reset()
    assert state["feedback"] == Engine(TINY).reset()
    for command in TINY.walkthrough:
        assert command in state["admissible_commands"]
        state, _, done = env.step(command)
    assert done


@pytest.mark.slow
@pytest.mark.usefixtures("textworld")
def test_env_keeps_the_contract_on_the_original() -> None:
    """The contract suite of all text environments."""
    check_text_env(make(engine="textworld", tier="tiny", domain_randomization=True), steps=4)
