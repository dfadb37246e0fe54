"""Adapters close what they opened: else a retriever's server would run as long as the trainer's process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gymnasium.error import ClosedEnvironmentError

from stepopsd_agent.adapters import Crediting, TRLRollouts, tool_rows, verl_tasks
from stepopsd_agent.config import EnvConfig
from stepopsd_agent.tasks import make_plain_env
from tests.helpers.search_qa import is_held, searched_files


def questions(folder: Path) -> tuple[EnvConfig, Path]:
    """Three questions on a corpus of their own, and the corpus."""
    file, corpus = searched_files(folder)
    arguments = {"questions": str(file), "corpus": str(corpus)}
    return EnvConfig(id="stepopsd/SearchQA-v0", response="search", arguments=arguments), corpus


@pytest.mark.parametrize("rows", [tool_rows, lambda env: verl_tasks(env, "loop")], ids=["trl", "verl"])
def test_adapters_that_list_tasks_hold_nothing_open(
    tmp_path: Path, rows: Callable[[EnvConfig], list[dict[str, Any]]]
) -> None:
    """They ask an environment for its tasks, and need it no more."""
    env, corpus = questions(tmp_path)
    with make_plain_env(env):
        assert is_held(corpus)
    assert len(rows(env)) == 3 and not is_held(corpus)


def test_trl_rollouts_are_closed(tmp_path: Path) -> None:
    """With all their environments; the rows stay known, and a second time does nothing."""
    env, corpus = questions(tmp_path)
    rollouts = TRLRollouts(env, Crediting("grpo"), slots=2)
    assert is_held(corpus)
    rollouts.close()
    assert not is_held(corpus) and len(rollouts.rows()) == 3
    rollouts.close()
    with pytest.raises(ClosedEnvironmentError):
        rollouts._envs[0].reset()
