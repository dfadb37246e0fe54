"""ALFWorld: games, the native engine, the environment, oracle, expert and generator."""

from stepopsd_envs.alfworld.engine import Engine
from stepopsd_envs.alfworld.game import Game, GameFileError, load_game

__all__ = ["Engine", "Game", "GameFileError", "load_game"]
