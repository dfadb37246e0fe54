"""Evaluations of the same tasks, compared task by task: paired test, intervals, and what is noise."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stepopsd_agent.ops import bootstrap_difference, clustered_proportion, holm, newcombe, sign_test
from stepopsd_envs.step_info import text_hash
from stepopsd_wrappers import Episode, read_episodes

LEVEL = 0.05
"""Of the test: differences with a smaller p-value are called real."""
_Task = tuple[int, str]
"""Update and task id."""
_PLACES = frozenset({"data_root"})
"""Arguments that say where the data are; what they are is told by the fingerprint."""


class _Key(NamedTuple):
    """The key that pairs an episode with its partner in another folder."""

    update: int
    task_id: str
    fingerprint: str
    seed: int
    group: int
    member: int


@dataclass(frozen=True)
class _Outcome:
    """One episode, as far as it is compared."""

    task_type: str
    failed: bool
    success: bool
    steps: str
    """Hash of all observations and actions."""


_Pairs = dict[_Key, tuple[_Outcome, _Outcome]]
"""The outcomes in the first folder and in another."""


@dataclass(frozen=True)
class _Results:
    """The episodes of one folder.

    Attributes:
        name: of the folder, as given.
        played: outcome by what was played; an attempt that was made again after an error counts once.
        settings: of the environment that played the first episode, as JSON texts.
    """

    name: str
    played: dict[_Key, _Outcome]
    settings: dict[str, str]


def compare_folders(folders: Mapping[str, Path]) -> dict[str, Any]:
    """Compare the episodes of every folder with those of the first.

    Args:
        folders: of recorded episodes, by the names that the result calls them.

    Returns:
        ``{folders, compared}``: success of each, and for every folder but the first its difference, the
        interval (95 %), the exact sign test's p, Holm's for all comparisons, whether it is within noise, and
        how many pairs of episodes are the same, step for step.

    Raises:
        ValueError: a folder holds no whole episode, or what was played differs.
    """
    first, *others = [_read(name, folder) for name, folder in folders.items()]
    for other in others:
        _check_same(first, other)
    compared = [_compared(first, other) for other in others]
    for entry, value in zip(compared, holm([entry["p"] for entry in compared]), strict=True):
        entry |= {"p_holm": value, "within_noise": value >= LEVEL}
    return {"folders": [_alone(results) for results in (first, *others)], "compared": compared}


def _read(name: str, folder: Path) -> _Results:
    played: dict[_Key, _Outcome] = {}
    settings: dict[str, str] = {}
    for episode in read_episodes(folder):
        key = _key(episode)
        before = played.get(key)
        if before is not None and not before.failed and not episode.failed:
            raise ValueError(
                f"{name} has two records of {_place(key)}, attempt {key.member} of group {key.group}, and "
                "nothing tells them apart; give folders that stepopsd eval or train wrote"
            )
        if before is None or before.failed:
            steps = text_hash(json.dumps([(step.action, step.observation) for step in episode.steps]))
            played[key] = _Outcome(episode.task_type, episode.failed, episode.success, steps)
        if not settings:
            spec = {"id": episode.env_spec["id"], **episode.env_spec.get("kwargs", {})}
            spec |= {"engine_version": episode.engine_version}
            settings = {k: json.dumps(v, sort_keys=True) for k, v in spec.items() if k not in _PLACES}
    if not played:
        raise ValueError(f"{name} holds no whole episode; play some with: stepopsd eval --out FOLDER")
    return _Results(name, played, settings)


def _key(episode: Episode) -> _Key:
    return _Key(
        episode.update, episode.task_id, episode.fingerprint, episode.seed, episode.group, episode.member
    )


def _place(key: _Key) -> str:
    return f"task {key.task_id}, seed {key.seed}"


def _check_same(first: _Results, other: _Results) -> None:
    """Refuse what was not played alike; the most telling difference is named."""
    if first.played.keys() == other.played.keys():
        return
    start = f"{other.name} cannot be compared with {first.name}: "
    a, b = ([(key.update, key.task_id) for key in results.played] for results in (first, other))
    if tasks := _difference(a, b):
        missing, more = ([f"{task!r}" for _, task in side] for side in tasks)
        here = f"{len(missing)} of {len(a)} episodes are in {first.name} alone" + _such(missing)
        there = f"{len(more)} of {len(b)} in {other.name} alone" + _such(more)
        raise ValueError(
            f"{start}the tasks differ: {here}, {there}; play the same with stepopsd eval, or finish one that "
            "was left with stepopsd eval --resume FOLDER"
        )
    data = [sorted({key.fingerprint for key in results.played}) for results in (first, other)]
    if data[0] != data[1]:
        raise ValueError(
            f"{start}the data differ, though the tasks have the same names: fingerprint "
            f"{', '.join(data[1])}, and {', '.join(data[0])} of {first.name}"
        )
    ours = sorted(first.played.keys() - other.played.keys())[0]
    theirs = min(
        other.played.keys() - first.played.keys(), key=lambda key: (key.task_id != ours.task_id, key)
    )
    raise ValueError(
        f"{start}the seeds or the numbering of the episodes differ: {_place(ours)}, attempt {ours.member} of "
        f"group {ours.group} is in {first.name} alone; {_place(theirs)}, attempt {theirs.member} of group "
        f"{theirs.group} in {other.name}"
    )


def _difference(a: Iterable[_Task], b: Iterable[_Task]) -> tuple[list[_Task], list[_Task]] | None:
    """Episodes that only one of the two has, counted; None where there are none."""
    counted = Counter(a), Counter(b)
    sides = list((counted[0] - counted[1]).elements()), list((counted[1] - counted[0]).elements())
    return sides if any(sides) else None


def _such(names: Sequence[str]) -> str:
    return f" (such as {names[0]})" if names else ""


def _alone(results: _Results) -> dict[str, Any]:
    """Success of one folder with its Wilson interval, and its errors, in all and by task type."""
    by_type: dict[str, dict[_Key, _Outcome]] = {}
    for key, outcome in results.played.items():
        by_type.setdefault(outcome.task_type, {})[key] = outcome
    return {
        "folder": results.name,
        **_success(results.played),
        "by_task_type": {name: _success(by_type[name]) for name in sorted(by_type)},
    }


def _success(outcomes: Mapping[_Key, _Outcome]) -> dict[str, Any]:
    by_task: dict[tuple[str, str], list[bool]] = {}
    valid = {key: outcome for key, outcome in outcomes.items() if not outcome.failed}
    for key, outcome in valid.items():
        by_task.setdefault((key.fingerprint, key.task_id), []).append(outcome.success)
    return {**clustered_proportion(by_task), "errors": len(outcomes) - len(valid)}


def _compared(first: _Results, other: _Results) -> dict[str, Any]:
    """All figures of one folder against the first, over the episodes that ended without an error in both."""
    pairs: _Pairs = {key: (first.played[key], other.played[key]) for key in sorted(first.played)}
    whole = {key: pair for key, pair in pairs.items() if not any(one.failed for one in pair)}
    if not whole:
        raise ValueError(
            f"no task ended without an error in both {first.name} and {other.name}; play again what failed "
            "with: stepopsd eval --resume FOLDER"
        )
    by_type: dict[str, _Pairs] = {}
    for key, (ours, theirs) in pairs.items():
        # A record whose reset failed does not know its type; one that ended without an error does.
        known = theirs if ours.failed else ours
        by_type.setdefault(known.task_type, {})[key] = ours, theirs
    names = sorted(first.settings.keys() | other.settings.keys())
    settings = {name: [outcome.settings.get(name, "absent") for outcome in (first, other)] for name in names}
    return {
        "folder": other.name,
        "against": first.name,
        **_figures(pairs),
        "same_episodes": sum(ours == theirs for ours, theirs in whole.values()),
        "pairs": len(whole),
        "settings": {name: both for name, both in settings.items() if both[0] != both[1]},
        "by_task_type": {name: _figures(by_type[name]) for name in sorted(by_type)},
    }


def _figures(every: _Pairs) -> dict[str, Any]:
    """Difference, interval and test. Attempts at one task belong together: the tasks are the sample.

    Pairs in which one ended in an error are counted under ``left_out`` and nowhere else; where all did, the
    figures are None.
    """
    pairs = {key: pair for key, pair in every.items() if not any(one.failed for one in pair)}
    left_out = len(every) - len(pairs)
    if not pairs:
        unknown = dict.fromkeys(("success", "difference", "ci95", "interval", "p"))
        return unknown | dict.fromkeys(("n", "tasks", "better", "worse", "equal"), 0) | {"left_out": left_out}
    tasks: dict[tuple[str, str], list[tuple[bool, bool]]] = {}
    for key, (base, other) in pairs.items():
        tasks.setdefault((key.fingerprint, key.task_id), []).append((base.success, other.success))
    gains = [sum(other - base for base, other in attempts) for attempts in tasks.values()]
    better, worse = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    # Tasks that all differ alike have no spread: a bootstrap over them would be sure of what it cannot know.
    shares = [{pair: tries.count(pair) / len(tries) for pair in set(tries)} for tries in tasks.values()]
    alike = len({gain / len(tries) for gain, tries in zip(gains, tasks.values(), strict=True)}) == 1
    if alike or len(tasks) == len(pairs):
        kinds = ((True, True), (True, False), (False, True), (False, False))
        interval = newcombe(*(sum(share.get(kind, 0.0) for share in shares) for kind in kinds))
    else:
        first, second = ([[float(pair[k]) for pair in tries] for tries in tasks.values()] for k in (0, 1))
        interval = bootstrap_difference(first, second, np.random.default_rng(0))
    return {
        "n": len(pairs),
        "tasks": len(tasks),
        "success": [sum(pair[k].success for pair in pairs.values()) / len(pairs) for k in (0, 1)],
        "difference": sum(gains) / len(pairs),
        "ci95": list(interval),
        "interval": "newcombe" if alike or len(tasks) == len(pairs) else "bootstrap over tasks",
        "better": better,
        "worse": worse,
        "equal": len(tasks) - better - worse,
        "p": sign_test(better, worse),
        "left_out": left_out,
    }
