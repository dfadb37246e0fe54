"""Recorded episodes as a Minari data set, which offline RL libraries read.

It needs minari and pyarrow (extra ``export``).
"""

import copy
import json
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym

from stepopsd_envs.extras import install_command
from stepopsd_wrappers.episode import Episode

_NAME = re.compile(r"[-\w]+-v\d+")
_ROOT = "MINARI_DATASETS_PATH"


def write_minari(episodes: Iterable[Episode], path: Path) -> int:
    """Write a data set in Minari's arrow format; return the number of episodes.

    Observations and actions are texts, in spaces that hold just these; ``infos`` has the response, the kind
    of the step, whether it was valid, whether the task is won, and the task id. If all episodes were played
    in one environment, ``recover_environment(eval_env=True)`` makes it again. Episodes without a step are
    left out.

    Args:
        episodes: none of them failed.
        path: the folder of the data set, which must not exist; its name ends in a version: "tiny-v0".
            ``minari.load_dataset`` finds it by that name, with its parent as ``MINARI_DATASETS_PATH``.

    Raises:
        ValueError: the name of the folder is not a valid name for Minari, or an episode holds text that is
            no UTF-8.
        ModuleNotFoundError: minari or pyarrow is not installed.
    """
    if not _NAME.fullmatch(path.name):
        raise ValueError(
            f"{path.name!r} is no name of a Minari data set: end it in a version, as in 'tiny-v0'"
        )
    try:
        import minari
        import pyarrow  # noqa: F401  # for its arrow format
        from minari.data_collector import EpisodeBuffer
    except ImportError as error:
        raise ModuleNotFoundError(
            f"a Minari data set takes minari and pyarrow ({error}): {install_command('export')}",
            name=error.name,
        ) from error
    buffers: list[Any] = []
    specs: dict[str, Any] = {}
    for episode in episodes:
        if episode.num_steps:
            _check_text(episode, len(buffers))
            buffers.append(EpisodeBuffer(id=len(buffers), **_fields(episode)))
            specs[json.dumps(episode.env_spec, sort_keys=True)] = episode.env_spec
    if not buffers:
        return 0
    with _datasets_in(path.parent), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of author, e-mail address, ...
        minari.create_dataset_from_buffers(
            path.name,
            buffers,
            eval_env=_spec(*specs.values()) if len(specs) == 1 else None,
            observation_space=_space(text for buffer in buffers for text in buffer.observations),
            action_space=_space(text for buffer in buffers for text in buffer.actions),
            data_format="arrow",
        )
    return len(buffers)


def _check_text(episode: Episode, number: int) -> None:
    """Refuse what the file cannot hold before anything of it is written."""
    try:
        for step in episode.steps:
            "".join((step.observation, step.action, step.response)).encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"episode {number} (task {episode.task_id}) holds text that is no UTF-8 ({error.reason}); leave "
            "it out, or export with --to sft, which writes U+FFFD in its place"
        ) from error


def _fields(episode: Episode) -> dict[str, Any]:
    """One more observation, and info, than actions: those of the reset."""
    done = episode.steps[1:]
    infos = [step.info["step"] for step in episode.steps]
    return {
        "seed": episode.seed,
        "observations": [step.observation for step in episode.steps],
        "actions": [step.action for step in done],
        "rewards": [float(step.reward) for step in done],
        "terminations": [step.terminated for step in done],
        "truncations": [step.truncated for step in done],
        "infos": {
            "response": [step.response for step in episode.steps],
            "kind": [step["kind"] for step in infos],
            "valid": [step["valid"] for step in infos],
            "won": [bool(step.info["won"]) for step in episode.steps],
            "task_id": [episode.task_id] * len(episode.steps),
        },
    }


def _space(texts: Iterable[str]) -> gym.spaces.Text:
    """The smallest space that contains these texts: Minari stores its length and alphabet only."""
    longest, characters = 1, {" "}
    for text in texts:
        longest = max(longest, len(text))
        characters.update(text)
    return gym.spaces.Text(longest, min_length=0, charset="".join(sorted(characters)))


def _spec(played: dict[str, Any]) -> gym.envs.registration.EnvSpec | None:
    """The spec with which Gymnasium makes the environment; None if the id is not registered here."""
    if played["id"] not in gym.registry:
        return None
    spec = copy.deepcopy(gym.registry[played["id"]])
    spec.kwargs |= played["kwargs"]
    return spec


@contextmanager
def _datasets_in(folder: Path) -> Iterator[None]:
    """Let Minari keep its data sets in this folder; it takes a relative path as one from its own folders."""
    before = os.environ.get(_ROOT)
    os.environ[_ROOT] = str(folder.resolve())
    try:
        yield
    finally:
        if before is None:
            del os.environ[_ROOT]
        else:
            os.environ[_ROOT] = before
