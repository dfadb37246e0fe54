"""Checks before a command starts: bad input ends in one clear line and leaves nothing half made."""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from importlib.util import find_spec

import gymnasium as gym

from stepopsd_agent.cli.setting_names import in_settings
from stepopsd_agent.config import (
    AlarmConfig,
    AlarmsConfig,
    EnvConfig,
    RunConfig,
    check_hindsight,
    check_values,
    chosen_trackers,
)
from stepopsd_agent.tasks import EvalSet, env_arguments, evaluation_sets, get, make_stack, task_ids
from stepopsd_envs.extras import install_command


class UsageError(Exception):
    """The request cannot be carried out; the message says what can, or what to do first."""


@contextmanager
def settings_checked(played: EnvConfig | EvalSet | None = None) -> Iterator[None]:
    """Let constructors judge their settings: what they refuse with a ValueError, the user has to change.

    Args:
        played: what an environment is made for, if one is; its arguments are then named as settings.
    """
    try:
        yield
    except (ValueError, gym.error.Error) as error:
        raise UsageError(str(error) if played is None else in_settings(str(error), played)) from error


def check_numbers(config: RunConfig) -> None:
    """Refuse numbers that no run can use, naming the key."""
    with settings_checked():
        check_values(config)
        check_hindsight(config.hindsight)
    rollout = config.rollout
    if rollout.temperature <= 0:
        raise UsageError(
            f"rollout.temperature is {rollout.temperature}; training samples, so give more than 0 "
            "(eval.temperature may be 0)"
        )
    if not 0 < rollout.top_p <= 1:
        raise UsageError(
            f"rollout.top_p is {rollout.top_p}; give a probability above 0, or 1 to draw from all tokens"
        )
    if "" in rollout.stop:
        raise UsageError("rollout.stop has an empty string; give text to stop at, or leave it out")
    if rollout.max_row_tokens <= rollout.max_tokens:
        raise UsageError(
            f"rollout.max_row_tokens is {rollout.max_row_tokens}; a row holds prompt and response, so give "
            f"more than rollout.max_tokens, which is {rollout.max_tokens}"
        )
    if not 0 < rollout.anchor_similarity <= 1:
        raise UsageError(
            f"rollout.anchor_similarity is {rollout.anchor_similarity}; give a likeness above 0, and at most "
            "1, which takes equal observations alone"
        )
    if rollout.revisit_share > 1 or (
        0 < rollout.revisit_share and not round(rollout.revisit_share * rollout.tasks)
    ):
        raise UsageError(
            f"rollout.revisit_share is {rollout.revisit_share}; give a share, at most 1, that is a group or "
            f"more of rollout.tasks, which is {rollout.tasks}; or 0"
        )
    check_engine(config)
    if config.learner.attention == "flex" and not config.device.startswith("cuda"):
        raise UsageError(
            f"learner.attention is flex, which cannot be trained through on {config.device}; give auto, or "
            "--device cuda"
        )
    warmstart = config.warmstart
    if warmstart.mistake_passes > warmstart.passes:
        raise UsageError(
            f"warmstart.mistake_passes is {warmstart.mistake_passes:g}; it counts passes, of which there are "
            f"{warmstart.passes} (warmstart.passes): give it {warmstart.passes} or less"
        )


def check_engine(config: RunConfig) -> None:
    """Refuse settings that the engine named by rollout.backend does not have."""
    from stepopsd_agent.rollout import ChatClient

    rollout = config.rollout
    if rollout.url is not None and not rollout.foreign:
        raise UsageError(
            f"rollout.url names a vLLM server, but rollout.backend is {rollout.backend}: give vllm"
        )
    if rollout.url is not None:
        with settings_checked():
            ChatClient(rollout.url, setting="rollout.url")
    if rollout.foreign and config.model.dtype == "float64":
        raise UsageError("model.dtype is float64, which vLLM does not have: give float32 or bfloat16")
    if rollout.ahead and (rollout.backend != "ray" or rollout.max_rounds > 1):
        raise UsageError(
            "rollout.ahead needs rollout.backend ray and rollout.max_rounds 1, but they are "
            f"{rollout.backend} and {rollout.max_rounds}"
        )
    if rollout.ahead and (rollout.rescored or config.learner.rescore_old):
        raise UsageError(
            "rollout.ahead plays with weights that are one update old, and only the log-probs recorded in "
            "sampling tell the loss so; rollout.top_k, rollout.top_p and learner.rescore_old have newer ones "
            "compute them again: leave these three at their defaults, or set rollout.ahead to false"
        )
    if rollout.ahead and config.checkpoint_every == 1:
        raise UsageError(
            "rollout.ahead is true, but the update after a checkpoint waits for fresh groups and "
            "checkpoint_every is 1, so nothing is ever played ahead: give checkpoint_every 2 or more"
        )
    number = config.device.partition(":")[2]
    if rollout.foreign and rollout.url is None and number not in ("", "0"):
        raise UsageError(
            f"device is {config.device}, but vLLM in the same process takes the first GPU: set "
            f"CUDA_VISIBLE_DEVICES to {number} and device to cuda"
        )
    if rollout.engine_memory == 0:
        raise UsageError("rollout.engine_memory is 0; vLLM needs a share of the memory, such as 0.5")


def check_alarms(config: AlarmsConfig, method: str, scheduled: frozenset[str]) -> None:
    """Refuse alarms whose consequence would be none.

    Args:
        config: the alarms.
        method: name of the credit method.
        scheduled: the fields of the method that an alarm lowers.
    """
    if config.lower_by > 1:
        raise UsageError(f"alarms.lower_by is {config.lower_by}; it lowers, so give 1 at most")
    for name, alarm in vars(config).items():
        if isinstance(alarm, AlarmConfig) and alarm.do == "lower" and not scheduled:
            raise UsageError(
                f"alarms.{name}.do is 'lower', but credit method {method!r} has no field that a schedule "
                "lowers; give warn or stop"
            )


def check_sharding(config: RunConfig, needs: frozenset[str]) -> None:
    """Refuse settings that cannot be had together with a model that is shared out, or without one.

    Args:
        config: of the run.
        needs: columns that the credit method reads.
    """
    learner, on_gpu = config.learner, config.device.startswith("cuda")
    if learner.cpu_offload and not (learner.sharding == "fsdp" and on_gpu):
        raise UsageError(
            f"learner.cpu_offload is true with learner.sharding {learner.sharding} on {config.device}; it "
            "takes from GPUs what learner.sharding fsdp shares out, so set both, or set it to false"
        )
    if learner.sharding == "none":
        return
    if learner.muon_lr:
        raise UsageError(
            f"learner.muon_lr is {learner.muon_lr}, but Muon needs whole matrices, which no process has with "
            "learner.sharding fsdp; set it to 0, or learner.sharding to none"
        )
    if "value" in needs:
        raise UsageError(
            "the credit method needs a critic, which learner.sharding fsdp does not share out; set "
            "learner.sharding to none, or choose another credit.method"
        )


def check_device(device: str) -> None:
    """Refuse a device that is unknown or not there."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise UsageError(f'device is {device!r}; give "cpu", "cuda" or "cuda:N"')
    if device == "cpu":
        return
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(device.partition(":")[2] or 0) >= count:
        raise UsageError(
            f"device is {device!r}, but PyTorch {torch.__version__} sees {count} CUDA devices; use "
            "--device cpu, or install a CUDA build of PyTorch on a machine with such a device"
        )


def check_packages(config: RunConfig) -> None:
    """Refuse settings that need a package which is not installed, before anything is written."""
    needed = []
    if config.learner.lora.rank:
        needed.append((f"learner.lora.rank is {config.learner.lora.rank}", "peft", "lora", "set it to 0"))
    if config.rollout.foreign and config.rollout.url is None:
        needed.append(
            ("rollout.backend is vllm", "vllm", "vllm", "give rollout.url a server, or set it to builtin")
        )
    if config.rollout.backend == "ray":
        needed.append(("rollout.backend is ray", "ray", "ray", "set it to builtin"))
    if config.model.gguf_file is not None:
        chosen = f"model.gguf_file is {config.model.gguf_file!r}"
        instead = "give a folder of safetensors"
        needed += [(chosen, package, "gguf", instead) for package in ("gguf", "accelerate")]
    with settings_checked():
        for tracker in set(chosen_trackers(config.tracking)) - {"tensorboard"}:
            needed.append((f"tracking names {tracker}", tracker, tracker, "leave it out"))
    for chosen, package, extra, instead in needed:
        if find_spec(package) is None:
            raise UsageError(f"{chosen}, which needs {package}: {install_command(extra)}, or {instead}")


def check_environment(config: RunConfig) -> None:
    """Refuse settings that the environment would not read, or not understand."""
    with settings_checked():
        env_arguments(config.env)
        held_out = get(config.env.id).held_out_settings(config.eval.arguments)
        check_values(held_out, "eval.")
        evaluation_sets(config)


@contextmanager
def checked_games(*games: EnvConfig | EvalSet) -> Iterator[None]:
    """Make each environment and begin its first task, so that missing or broken data are reported at once.

    A set to evaluate that leaves tasks out is named, as its success is not that of a whole split.
    They stay open inside the `with`: what environments share, such as a retriever's server, is started once.
    """
    from stepopsd_agent.rollout import Attempt, begin

    with ExitStack() as opened:
        for named in games:
            with settings_checked(named):
                env = opened.enter_context(
                    closing(make_stack(named.env if isinstance(named, EvalSet) else named))
                )
                ids = task_ids(env)
                first = _chosen(named, ids)[0] if isinstance(named, EvalSet) else ids[0]
            begin(env, Attempt(first, seed=0))
        yield


def _chosen(tasks: EvalSet, ids: Sequence[str]) -> list[str]:
    """The tasks that will be played, with a notice where a set chooses some of its own."""
    from stepopsd_agent.rollout import chosen_tasks

    try:
        chosen = chosen_tasks(tasks, ids)
    except ValueError as error:
        raise UsageError(f"evaluation on {tasks.name}: {error}") from error
    if tasks.select is not None and len(chosen) < len(ids):
        some = (
            f"evaluation plays {len(chosen)} of the {len(ids)} tasks of {tasks.name}, evenly over task types"
        )
        print(f"stepopsd: notice: {some}; without a number it plays all", file=sys.stderr)
    return chosen
