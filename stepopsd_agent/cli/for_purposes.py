"""Checks of ``stepopsd doctor`` for single purposes: questions with something to search, memory for vLLM."""

from dataclasses import dataclass
from typing import Literal

from stepopsd_envs.extras import install_command

State = Literal["ok", "note", "missing"]
GIB = 2**30
LEAST_ENGINE_MEMORY = 4.0
"""GiB of the device or machine for vLLM with the smallest models; `stepopsd plan` computes a run's need."""


@dataclass(frozen=True)
class Finding:
    """The result of a check.

    Attributes:
        name: what was checked.
        state: "ok"; "note" if something is missing that the purpose does not need; "missing" if it needs it.
        found: what the check found.
        remedy: what to do if the state is not "ok".
    """

    name: str
    state: State
    found: str
    remedy: str = ""


def questions(needed: bool) -> Finding:
    """Search the synthetic encyclopedia for a question: what Search-QA plays where nothing else is named."""
    import gymnasium as gym

    from stepopsd_envs.search_qa.env import SearchQAEnv

    try:
        env = SearchQAEnv()
        try:
            asked, _ = env.reset(seed=0)
            found = len(env.step(f"<search>{env.question.question}</search>")[4]["retrieved"])
        finally:
            env.close()
        problem = "" if found else f"a search for {asked!r:.80} finds nothing"
    except (OSError, ValueError, RuntimeError, gym.error.Error) as error:
        problem = f"it fails: {type(error).__name__}: {error}"
    if problem:
        state: State = "missing" if needed else "note"
        return Finding("questions", state, f"the synthetic world is not usable: {problem}", install_command())
    return Finding(
        "questions", "ok",
        f"the synthetic world, {found} passages for a question; for other passages: stepopsd index FILE "
        "--out INDEX, then --env.corpus INDEX (Lucene: doctor --for lucene)",
    )  # fmt: skip


def engine_memory(needed: bool) -> Finding:
    """Check the memory that vLLM can have: of the GPU, or without one of the machine."""
    import torch

    from stepopsd_agent.run.planning.fitting import device_memory

    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = device_memory(device)
    if size is None:
        return Finding("memory for vllm", "note", f"this system does not report that of {device}")
    found = f"{size / GIB:.1f} GiB on {device}"
    if size / GIB < LEAST_ENGINE_MEMORY:
        return Finding(
            "memory for vllm", "missing" if needed else "note", f"{found}, under {LEAST_ENGINE_MEMORY:g} GiB",
            "use a device with more memory, a server (--rollout.url), or --rollout.backend builtin",
        )  # fmt: skip
    share = f"vLLM takes rollout.engine_memory of it, {size / GIB / 2:.1f} GiB by default" * (
        device == "cuda"
    )
    return Finding("memory for vllm", "ok", f"{found}{'; ' * bool(share)}{share}")
