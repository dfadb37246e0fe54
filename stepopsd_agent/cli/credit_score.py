"""``stepopsd credit score``: the credit of every step of recorded episodes, as a file."""

import json
from pathlib import Path

from jsonargparse import Namespace

from stepopsd_agent import credit
from stepopsd_agent.cli.checks import UsageError, settings_checked
from stepopsd_agent.cli.common import episode_folder, run_config, trained_policy
from stepopsd_agent.run.files import write_bytes_atomic
from stepopsd_envs.user_path import user_path
from stepopsd_wrappers import read_episodes


def score(settings: Namespace) -> int:
    """Compute a method on recorded episodes and write the credit of every step."""
    from stepopsd_agent.learner import recorded_columns
    from stepopsd_agent.run import IN_TRAINING, score_records

    config = run_config(settings)
    chosen = settings.credit.as_dict()
    name = chosen.pop("method")
    with settings_checked():
        method = credit.make(name, **chosen)
        if missing := sorted(method.needs & IN_TRAINING):
            raise ValueError(
                f"credit method {name!r} needs {', '.join(missing)}, which only a run can compute: "
                f"stepopsd train --credit.method {name}"
            )
    folder = episode_folder(settings.episodes)
    episodes = list(read_episodes(folder))
    valid = [episode for episode in episodes if not episode.failed]
    if not valid:
        raise UsageError(f"{folder} holds no episode that ended without an error: there is nothing to score")
    out = _target(settings, folder, name)
    policy = trained_policy(config) if method.needs - recorded_columns() else None
    with settings_checked():
        scored = score_records(
            valid, config, method, {"name": name, **chosen}, policy, settings.get("group_by", "recorded")
        )
    lines = "".join(json.dumps(record, allow_nan=False) + "\n" for record in scored.records)
    write_bytes_atomic(out, lines.encode())
    steps = [step for record in scored.records for step in record["steps"]]
    failed = len(episodes) - len(valid)
    left = f"; {failed} that met an error are left out" if failed else ""
    credited = sum(any(step["tokens"]) for step in steps)
    print(f"{name}: {len(scored.records)} episodes, {len(steps)} steps, {credited} of them with credit{left}")
    if scored.terms:
        names = ", ".join(scored.terms)
        print(f"its further loss ({names}) is learned from in a run alone, and no part of the file")
    if scored.alone:
        print(
            f"{scored.alone} episodes are alone in their group, but most methods compare members of a group: "
            "--group_by task puts all attempts at a task in one"
        )
    print(f"written to {out}")
    return 0


def _target(settings: Namespace, episodes: Path, method: str) -> Path:
    """The file to write: the one that is named, else one beside the episodes; none is written over."""
    beside = episodes if episodes.is_dir() else episodes.parent
    named = "out" in settings
    out = user_path(settings.out) if named else beside / f"credit-{method.rpartition(':')[2]}.jsonl"
    if out.exists():
        raise UsageError(f"{out} is there already; name another file with --out FILE, or remove it")
    return out
