"""The processes that a launcher started for one run: how they find each other, and what the last words are.

``torchrun`` and ``accelerate launch`` start the same command several times and tell each process its number.
"""

import hashlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed as dist
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

PATIENCE = timedelta(hours=2)
"""How long processes wait for each other: one may still play, evaluate or write when the others are done."""


@dataclass(frozen=True)
class Processes:
    """The processes of a run, as one of them sees them.

    Attributes:
        rank: number of this process; 0 leads, and alone writes and prints.
        count: of the processes.
        group: through which they talk: tensors on the CPU by gloo, on CUDA by NCCL.
        device: of this process.
        store: where all of them read and write small values.
    """

    rank: int
    count: int
    group: dist.ProcessGroup
    device: str
    store: Store

    def first(self, text: str) -> bool:
        """Whether no process has asked for this text before; then this one is to print it."""
        key = f"said/{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"
        try:
            return bool(self.store.add(key, 1) == 1)
        except RuntimeError:  # the launcher that held the store is gone
            return True

    def say(self, text: str) -> None:
        """Print a line to standard error, in one of the processes that want to."""
        if self.first(text):
            os.write(2, f"stepopsd: {text}\n".encode())

    def wait(self) -> None:
        """Wait until every process is here."""
        dist.barrier(self.group)


@contextmanager
def joined(device: str, resume: str) -> Iterator[Processes]:
    """Find the other processes of the launcher; when one of them ends, this one ends with one sentence.

    Args:
        device: of this process, "cpu" or "cuda:N".
        resume: the command that continues the run.
    """
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    store, rank, count = next(rendezvous("env://", timeout=PATIENCE))
    backend = "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PATIENCE)
    assert dist.group.WORLD is not None  # just made
    processes = Processes(rank, count, dist.group.WORLD, device, store)
    lost = (
        "a process of the run has ended, so the others stop; nothing that a checkpoint holds is lost, and "
        f"what came after it is made again by: {resume}"
    )
    with _ended_by_launcher(lambda: processes.say(lost)):
        try:
            yield processes
        except Exception as error:
            if _peer_gone(error):
                processes.say(lost)
                _leave()
            if processes.first(f"{type(error).__name__}: {error}"):
                raise
            _wait_to_be_ended()
        dist.destroy_process_group()


def _peer_gone(error: Exception) -> bool:
    """Whether an operation failed as another process of the group is no longer there."""
    # gloo raises plain RuntimeErrors; those of other kinds, such as a server that is down, are the run's own.
    said = str(error) if type(error) is RuntimeError else ""
    return isinstance(error, dist.DistError) or "gloo" in said or "Connection" in said


def _leave() -> None:
    """End this process as it is: tidying up would wait for the processes that are gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _wait_to_be_ended() -> None:
    """End without a word, but after the process that prints the error of both: the launcher ends the rest."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    time.sleep(5)
    _leave()


@contextmanager
def _ended_by_launcher(say: Callable[[], None]) -> Iterator[None]:
    """Say why when the launcher ends this process, which it does when another one has ended.

    A thread does it: the main one may wait for a process that is gone, and then hears of no signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    read, write = os.pipe()
    os.set_blocking(write, False)
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)  # a handler, so that the pipe is told
    woken = signal.set_wakeup_fd(write, warn_on_full_buffer=False)

    def watch() -> None:
        while number := os.read(read, 1):
            if number[0] == signal.SIGTERM:
                say()
                _leave()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(woken)
        signal.signal(signal.SIGTERM, before)
        os.close(write)
        thread.join()
        os.close(read)
