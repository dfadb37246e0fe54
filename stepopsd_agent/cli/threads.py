"""How many CPU threads a command takes: those asked for, as far as the process may use them."""

import os
import sys

from stepopsd_envs.processors import allowed_threads


def use_threads(asked: int) -> int:
    """Set the threads of PyTorch to what was asked for, but no more than allowed; 0 asks for all of them.

    Returns:
        The number set.
    """
    allowed = allowed_threads()
    count = min(asked or allowed, allowed)
    if count < asked:
        print(
            f"stepopsd: notice: threads is {asked}, but this process may use {allowed}; more would wait for "
            f"each other, so it takes {count}",
            file=sys.stderr,
        )
    if asked or "torch" in sys.modules:
        import torch

        torch.set_num_threads(count)
    else:  # PyTorch reads it when it is imported, which commands without a model are spared
        os.environ["OMP_NUM_THREADS"] = str(count)
    return count
