"""``stepopsd replay``."""

import json

import gymnasium as gym
from jsonargparse import Namespace

from stepopsd_agent.cli.checks import UsageError, settings_checked
from stepopsd_agent.cli.common import episode_folder
from stepopsd_agent.cli.parser import Parser
from stepopsd_agent.run import progress
from stepopsd_envs.near_names import import_named, module_hint
from stepopsd_wrappers import Episode, ReplayReport, read_episodes, replay

HELP = "play recorded episodes again and compare every observation"
USES: frozenset[str] = frozenset()


def add_flags(parser: Parser) -> None:
    """The records."""
    parser.add_argument("episodes", type=str, help="folder of recorded episodes, or a run folder")
    parser.add_argument(
        "--module",
        type=str,
        default=None,
        help="import this first: the module that registers an environment from outside the package",
    )
    parser.add_argument(
        "--any_engine",
        action="store_true",
        help="also replay what another engine, or another version of it, has recorded",
    )


def run(settings: Namespace) -> int:
    """Play records again; 1 when one differs."""
    if settings.module is not None:
        try:
            import_named(settings.module)
        except ModuleNotFoundError as error:
            hint = module_hint(settings.module, error.name)
            raise UsageError(
                f"module is {settings.module!r}, but there is no module {error.name!r}: {hint}"
            ) from error
    envs: dict[str, gym.Env[str, str]] = {}
    differing = total = 0
    with progress(None, "replaying", unit="episode") as bar:
        for episode in read_episodes(episode_folder(settings.episodes)):
            report = _replayed(episode, envs, settings.any_engine)
            total += 1
            differing += not report.equal
            if not report.equal:
                print(f"episode {total}, {episode.task_id}, seed {episode.seed}: {report}", flush=True)
            bar.advance()
    if not total:
        raise UsageError(
            f"{settings.episodes} holds no whole episode; record some with: stepopsd record --out FOLDER"
        )
    print(f"{total - differing}/{total} episodes replay identically")
    return 1 if differing else 0


def _replayed(episode: Episode, envs: dict[str, gym.Env[str, str]], any_engine: bool) -> ReplayReport:
    """Replay in an environment kept for all episodes of its kind: making one can mean to search a folder."""
    spec = episode.env_spec
    key = json.dumps(spec, sort_keys=True)
    if key not in envs and spec["id"]:
        # A record may name the id, but not the module: records from elsewhere must not import code.
        if spec["id"] not in gym.registry:
            raise UsageError(
                f"the records name the environment {spec['id']!r}, which is not registered: name the "
                "module that registers it with --module MODULE"
            )
        with settings_checked():
            envs[key] = gym.make(spec["id"], disable_env_checker=True, **spec["kwargs"])
    return replay(episode, envs.get(key), any_engine=any_engine)
