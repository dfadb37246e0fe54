"""A second Ctrl-C while a run is stopping."""

import os
import signal
import time
from pathlib import Path

import pytest

from stepopsd_agent import credit
from stepopsd_agent.run import Interrupted, Trainer, run_training
from tests.helpers.runs import run_config, taught

pytestmark = pytest.mark.samples


def test_run_second_ctrl_c_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message still names the way on, and the signal's old meaning is back."""
    policy = taught()

    def twice(trainer: Trainer) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    monkeypatch.setattr(Trainer, "step", twice)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match=r"stopped at once.*stepopsd train --resume"):
        run_training(run_config(), "grpo", credit.make("grpo"), policy, tmp_path)
    assert signal.getsignal(signal.SIGINT) is before
