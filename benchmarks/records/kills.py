"""Whether episodes are lost when a recording process is killed at random moments.

``python -m benchmarks.records.kills [--json OUT] [--kills N] [--seed S]`` starts a process that plays random
commands in a vector environment of generated games and records them in small shards, which are compressed
once they are full. The process is killed with SIGKILL at a random moment, and the next one continues in the
same folder.

After each kill the folder must hold, in this order, the episodes from before, every episode whose write call
had returned, at most the one episode that was being written, and nothing else. Each new episode is replayed.
"""

import argparse
import hashlib
import os
import random
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import stepopsd_envs  # noqa: F401  (registers the ids)
from benchmarks.output import write_result
from stepopsd_wrappers import Episode, EpisodeWriter, read_episodes, replay
from stepopsd_wrappers.vector import RecordEpisode

COMMAND = "python -m benchmarks.records.kills"
SHARD_SIZE = 100_000  # about four episodes: shards are closed and packed all the time
LONGEST = 0.4  # seconds of recording until the kill, at most
BEGUN, WRITTEN = b"-", b"+"


class LoggedWriter(EpisodeWriter):
    """Reports to a pipe which episode it begins to write, and when the write call has returned."""

    def __init__(self, folder: Path, pipe: int) -> None:
        super().__init__(folder, shard_size=SHARD_SIZE, compress=True)
        self._pipe = pipe

    def append(self, episode: Episode) -> None:
        """Report the beginning, write, report the end."""
        name = fingerprint(episode).encode("ascii")
        os.write(self._pipe, BEGUN + name + b"\n")
        super().append(episode)
        os.write(self._pipe, WRITTEN + name + b"\n")


@dataclass(frozen=True)
class Writes:
    """Reports of a killed process: episodes it had written, and the one it had begun to write, if any."""

    written: list[str]
    begun: list[str]


def fingerprint(episode: Episode) -> str:
    """Hash of the whole record."""
    return hashlib.sha256(episode.to_json().encode("ascii")).hexdigest()


def play_for_ever(folder: Path, pipe: int, seed: int) -> None:
    """Play and record until killed."""
    warnings.simplefilter("ignore", RuntimeWarning)  # of the unfinished line that the last kill left
    rng = np.random.default_rng(seed)
    writer = LoggedWriter(folder, pipe)
    games = gym.make_vec("stepopsd/ALFWorld-v0", 2, tier="tiny", step_limit=12)
    envs = RecordEpisode(games, writer=writer)
    _, infos = envs.reset(seed=seed)
    while True:
        commands = infos["admissible_commands"]
        _, *_, infos = envs.step([offered[int(rng.integers(len(offered)))] for offered in commands])


def killed(folder: Path, seed: int, seconds: float) -> Writes:
    """Let a process record, kill it this many seconds after its first report, and return its reports."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reading)
            play_for_ever(folder, writing, seed)
        finally:  # an error: nothing of the parent's is to run here
            traceback.print_exc()
            os.kill(os.getpid(), signal.SIGABRT)
    os.close(writing)
    reports = os.read(reading, 1)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    while part := os.read(reading, 65536):
        reports += part
    os.close(reading)
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        raise RuntimeError(f"the recording process ended by itself with status {status}")
    lines = reports.split(b"\n")[:-1]  # a kill may leave half a line
    written = [line[1:].decode() for line in lines if line[:1] == WRITTEN]
    begun = [line[1:].decode() for line in lines if line[:1] == BEGUN]
    return Writes(written, begun[len(written) :])


def found(folder: Path) -> list[Episode]:
    """The episodes in the folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return list(read_episodes(folder))


def kill_often(folder: Path, kills: int, seed: int, longest: float = LONGEST) -> dict[str, Any]:
    """Kill, check and go on; return counts of what was found and of what was wrong."""
    rng = random.Random(seed)
    before: list[str] = []
    missing = foreign = differing = unfinished = being_written = 0
    for number in range(kills):
        writes = killed(folder, seed + number, rng.uniform(0, longest))
        episodes = found(folder)
        names = [fingerprint(episode) for episode in episodes]
        expected = before + writes.written
        with_last = expected + writes.begun[:1]
        being_written += bool(writes.begun) and names == with_last
        unfinished += bool(writes.begun) and names == expected
        if names not in (expected, with_last):
            missing += len(set(expected) - set(names))
            foreign += len(set(names) - set(with_last)) or 1
        differing += sum(not replay(episode).equal for episode in episodes[len(before) :])
        before = names
    return {
        "kills": kills,
        "seed": seed,
        "episodes": len(before),
        "packed_shards": len(list(folder.glob("*.gz"))),
        "killed_while_writing": being_written + unfinished,
        "missing": missing,
        "foreign": foreign,
        "replays_that_differ": differing,
    }


def reached(figures: dict[str, Any]) -> bool:
    """Whether nothing is missing, nothing else is there, and every replay gives the same episode."""
    return not (figures["missing"] or figures["foreign"] or figures["replays_that_differ"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        prog=COMMAND, description="Kill a recording process at random moments and count lost episodes."
    )
    parser.add_argument("--json", type=Path, default=None, help="also write the figures here")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        figures = kill_often(Path(folder) / "episodes", given.kills, given.seed)
    if given.json:
        write_result(given.json, figures, f"{COMMAND} --kills {given.kills} --seed {given.seed}")
    print(
        f"{figures['kills']} kills, {figures['killed_while_writing']} of them while an episode was written; "
        f"{figures['episodes']} episodes in the folder, {figures['packed_shards']} packed shards; "
        f"{figures['missing']} missing, {figures['foreign']} that do not belong there, "
        f"{figures['replays_that_differ']} replays differ"
    )
    return 0 if reached(figures) else 1


if __name__ == "__main__":
    raise SystemExit(main())
