"""``stepopsd credit compare``: which methods rank the right steps of recorded episodes, and at what cost."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import Any

import gymnasium as gym
from jsonargparse import Namespace

from stepopsd_agent.cli.checks import UsageError, fresh_file, settings_checked
from stepopsd_agent.cli.common import episode_folder, run_config, trained_policy
from stepopsd_agent.run.files import write_bytes_atomic, write_json_atomic
from stepopsd_envs.user_path import user_path
from stepopsd_wrappers import Episode, read_episodes

SCHEMA = "stepopsd.credit-accuracy/1"
MEASURES = ("auc_failed", "auc_won", "auc_unmixed", "pushed_down", "pushed_up")
LEGEND = """AUC: chance that a step which brings the goal nearer has more credit than another step of its
episode; 0.5 is chance. failed, won: in groups with both outcomes; unmixed: in the others. pushed down:
share of forward steps with negative credit; pushed up: share of harmful steps with positive credit.
[controls] need no idea of credit. In brackets: intervals of 95 % over tasks."""


def compare(settings: Namespace) -> int:
    """Judge methods and controls on recorded episodes; print the table."""
    from stepopsd_agent.accuracy import SKIPPED, draw_accuracy, entries, table_text
    from stepopsd_agent.run import compare_records, environment_facts, progress

    config = run_config(settings)
    json_file, picture = (
        fresh_file(settings[name], f"--{name}") if name in settings else None for name in ("json", "picture")
    )
    named, by = settings.get("method"), settings.get("group_by", "recorded")
    with settings_checked():
        try:
            methods = entries(named)
            for entry in methods:
                entry.make()
        except TypeError as error:  # a method lacks a field
            raise UsageError(str(error)) from error
    folder = episode_folder(settings.episodes)
    episodes = list(read_episodes(folder))
    valid = [episode for episode in episodes if not episode.failed]
    if not valid:
        raise UsageError(f"{folder} holds no episode that ended without an error: there is nothing to judge")
    valid = _with_distances(valid, replay=settings.get("replay", False))
    policy = None if config.model.path == "tiny" else trained_policy(config)
    with settings_checked(), progress(len(methods), "judging", unit="method") as bar:
        found = compare_records(valid, config, methods, policy, by, lambda name: bar.advance(note=name))
    if named is not None and not found["methods"]:
        raise UsageError("; ".join(f"{name}: {why}" for name, why in found["left_out"].items()))
    if named is None:
        found["left_out"] |= SKIPPED
    print(_heading(found, len(episodes) - len(valid)))
    print(f"\n{table_text(found, MEASURES)}\n\n{LEGEND}")
    for name, why in found["left_out"].items():
        print(f"left out: {name}: {why}")
    if json_file is not None:
        content = {"schema": SCHEMA, "group_by": by, **found, **environment_facts()}
        write_json_atomic(json_file, content)
        print(f"written to {json_file}")
    if picture is not None:
        name = user_path(settings.episodes).name
        write_bytes_atomic(picture, draw_accuracy({name: found}, f"Credit accuracy, {name}"))
        print(f"drawn to {picture}")
    return 0


def _heading(found: dict[str, Any], failed: int) -> str:
    """The episodes in a few lines."""
    steps = found["steps"]
    left = f"; {failed} that met an error are left out" if failed else ""
    lines = [
        f"{found['episodes']} episodes at {found['tasks']} tasks in {found['groups']} groups, "
        f"{found['mixed']} of them with both outcomes; success {found['success']:.1%}{left}",
        f"of the steps {steps['forward']:.0%} bring the goal nearer, {steps['wasted']:.0%} leave it as far, "
        f"{steps['harmful']:.0%} lead away",
    ]
    if found["alone"]:
        lines.append(
            f"{found['alone']} episodes are alone in their group, but most methods compare members of a "
            "group: --group_by task puts all attempts at a task in one"
        )
    return "\n".join(lines)


def _with_distances(episodes: Sequence[Episode], *, replay: bool) -> list[Episode]:
    """The episodes with the distance to the goal of every step.

    Raises:
        UsageError: they do not tell it, and are not to be played again, or cannot be.
    """
    from stepopsd_agent.run import progress, replayed_distances, tells_progress

    untold = [episode for episode in episodes if not tells_progress(episode)]
    if not untold:
        return list(episodes)
    able = all(_has_oracle(episode) for episode in untold)
    if not (replay and able):
        advice = (
            "add --replay to play the recorded commands again for it, or record with --env.oracle true"
            if able
            else f"{untold[0].env_spec['id']} has no setting env.oracle; let it report the least number of "
            "actions to the goal as info['optimal_distance'], or judge methods on stepopsd/ALFWorld-v0"
        )
        raise UsageError(
            f"{len(untold)} of {len(episodes)} episodes tell no distance to the goal, which credit is judged "
            f"by: {advice}"
        )
    envs, found = dict[str, gym.Env[str, str]](), list[Episode]()
    with ExitStack() as opened, progress(len(untold), "replaying", unit="episode") as bar:
        for episode in episodes:
            if tells_progress(episode):
                found.append(episode)
                continue
            spec = episode.env_spec
            with settings_checked():
                if str(spec) not in envs:
                    made = gym.make(
                        spec["id"], disable_env_checker=True, **{**spec["kwargs"], "oracle": True}
                    )
                    envs[str(spec)] = opened.enter_context(closing(made))
                found.append(replayed_distances(episode, envs[str(spec)]))
            bar.advance()
    return found


def _has_oracle(episode: Episode) -> bool:
    """Whether the environment of a record can be made so that it tells the distance to the goal."""
    from stepopsd_agent.tasks import constructor_settings, names

    env_id = episode.env_spec["id"]
    return "oracle" in episode.env_spec["kwargs"] or (
        env_id in names() and "oracle" in constructor_settings(env_id)
    )
