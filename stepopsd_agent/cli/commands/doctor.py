"""``stepopsd doctor``: check whether machine and installation have what a purpose needs.

Each check gives one finding, with a remedy.
"""

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from gymnasium.error import DependencyNotInstalled
from jsonargparse import Namespace
from packaging.requirements import Requirement

from stepopsd_agent.cli.parser import Parser
from stepopsd_envs.alfworld.official import SPLITS, data_folder, locate
from stepopsd_envs.extras import install_command
from stepopsd_envs.manifest import GamesNotFoundError
from stepopsd_envs.processors import allowed_processors, allowed_threads
from stepopsd_envs.search_qa.retrieval.errors import RetrievalSetupError

HELP = "check packages, processor, GPU, memory, Java and games, and say how to get what is missing"
USES: frozenset[str] = frozenset()
State = Literal["ok", "note", "missing"]
GIB = 2**30
LEAST_MEMORY, LEAST_DISK = 4, 2
"""GiB that should be free for the demonstration; `stepopsd plan` computes what a real model needs."""
LEAST_ENGINE_MEMORY = 4.0
"""GiB of the device or machine for vLLM with the smallest models; `stepopsd plan` computes a run's need."""

PURPOSES: Mapping[str, tuple[str, ...]] = {
    "train": (),
    "gpu": ("GPU",),
    "official": ("official games",),
    "lucene": ("search", "Java"),
    "dense": ("search",),
    "searchqa": ("questions",),
    "vllm": ("vllm", "memory for vllm"),
    "ray": ("ray",),
    "lora": ("lora",),
    "sb3": ("sb3",),
    "export": ("export",),
}
"""Purposes, with the checks that each needs in addition to those for every purpose."""


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


def add_flags(parser: Parser) -> None:
    """The purpose, and the folder for runs."""
    parser.description = (
        f"{parser.description} Exit code 0: the purpose has all that it needs; 1: something is missing."
    )
    parser.usage = f"stepopsd doctor [--for {'|'.join(PURPOSES)}] [--out FOLDER]"
    parser.add_argument(
        "--for", choices=list(PURPOSES), default="train", metavar="PURPOSE", dest="purpose",
        help="train: tiny models; gpu: real ones; official: ALFWorld's games; searchqa: Search-QA on its "
        "synthetic world; lucene, dense: other retrieval for it; vllm, ray: other ways to play; lora: "
        "adapters; sb3: stable-baselines3; export: other formats (default: train)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=str, default=".", metavar="FOLDER", help="where runs will be written (default: here)"
    )


def run(settings: Namespace) -> int:
    """Print each finding with its remedy; return 1 if the purpose lacks something."""
    folder = Path(settings.out).expanduser().absolute()
    while not folder.exists():
        folder = folder.parent
    findings = examined(settings.purpose, folder)
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        print(f"{finding.state:<8} {finding.name:<{width}}  {finding.found}")
        if finding.remedy and finding.state != "ok":
            print(f"{'':<8} {'':<{width}}  -> {finding.remedy}")
    missing = [finding.name for finding in findings if finding.state == "missing"]
    if missing:
        print(f"{settings.purpose}: not possible yet; missing: {', '.join(missing)}")
        return 1
    print(f"{settings.purpose}: this machine has what it needs")
    return 0


def examined(purpose: str, folder: Path) -> Sequence[Finding]:
    """Run all checks; what the purpose needs and is not there is "missing", anything else a "note"."""
    needed = set(PURPOSES[purpose])
    extras: Iterable[tuple[str, Callable[[bool], Finding]]] = [
        (extra, partial(packages, f"extra {extra}", extra))
        for extra in ("alfworld", "search", "lora", "sb3", "ray", "vllm", "export")
    ]
    asked = [("GPU", accelerator), ("official games", games), ("Java", java), *extras]
    if purpose == "searchqa":
        asked.append(("questions", questions))
    if purpose == "vllm":
        asked.append(("memory for vllm", engine_memory))
    return [
        python(),
        packages("packages", None, needed=True),
        processors(),
        memory(),
        disk(folder),
        *(check(name in needed) for name, check in asked),
    ]


def requirements(extra: str | None) -> Iterator[Requirement]:
    """Yield the requirements of an extra, or for None those that every installation has."""
    for text in importlib.metadata.requires("stepopsd") or ():
        requirement = Requirement(text)
        always = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        asked = requirement.marker is not None and requirement.marker.evaluate({"extra": extra or ""})
        if always == (extra is None) and (always or asked):
            yield requirement


def packages(name: str, extra: str | None, needed: bool) -> Finding:
    """Check that required packages are installed in allowed versions."""
    known = importlib.metadata.metadata("stepopsd").get_all("Provides-Extra") or ()
    wrong = [] if extra is None or extra in known else ["this installation does not know the extra yet"]
    for requirement in requirements(extra):
        version = installed_version(requirement.name)
        if version is None:
            wrong.append(f"{requirement.name} is not installed")
        elif not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version} is not {requirement.specifier}")
    if not wrong:
        return Finding(name, "ok", "installed")
    return Finding(name, "missing" if needed else "note", "; ".join(wrong), install_command(extra))


def installed_version(name: str) -> str | None:
    """The version of a package, or of a build with another name that has its module, as vLLM for CPUs has."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        provide = importlib.metadata.packages_distributions().get(name.replace("-", "_"), [])
        others = [build for build in provide if build != name]
        return importlib.metadata.version(others[0]) if others else None


def python() -> Finding:
    """Check the version of Python."""
    version = platform.python_version()
    if sys.version_info[:2] > (3, 13):
        return Finding(
            "Python", "note", f"{version}, newer than any tested version", "use 3.11, 3.12 or 3.13"
        )
    return Finding("Python", "ok", version)


def accelerator(needed: bool) -> Finding:
    """Check PyTorch and the GPU that it sees."""
    import torch

    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        what = f"{torch.cuda.device_count()} x {card.name}, {card.total_memory / GIB:.0f} GiB"
        return Finding("GPU", "ok", f"{what}, PyTorch {torch.__version__}")
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "a build without CUDA"
    return Finding(
        "GPU", "missing" if needed else "note", f"PyTorch {torch.__version__} ({built}) sees none",
        "tiny models train on the processor; for others install a CUDA build of PyTorch, see pytorch.org",
    )  # fmt: skip


def processors() -> Finding:
    """Count the CPU threads that a command uses."""
    count, allowed = os.cpu_count() or 1, allowed_threads()
    if allowed < count:
        why = "OMP_NUM_THREADS" if allowed < allowed_processors() else "a limit of the process or container"
        return Finding("processors", "ok", f"{allowed} of {count} ({why})")
    return Finding("processors", "ok", f"{count}")


def memory() -> Finding:
    """Check the free main memory, where the system reports it."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return Finding("memory", "note", "this system does not report how much is free")
    free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024 / GIB
    if free < LEAST_MEMORY:
        remedy = "close other programs; stepopsd plan says how much a run needs"
        return Finding("memory", "note", f"{free:.1f} GiB free", remedy)
    return Finding("memory", "ok", f"{free:.1f} GiB free")


def disk(folder: Path) -> Finding:
    """Check the free space of the disk to which runs are written."""
    free = shutil.disk_usage(folder).free / GIB
    if free < LEAST_DISK:
        return Finding(f"disk ({folder})", "note", f"{free:.1f} GiB free", "choose another disk with --out")
    return Finding(f"disk ({folder})", "ok", f"{free:.0f} GiB free")


def games(needed: bool) -> Finding:
    """Find the official games of ALFWorld."""
    root, present = data_folder(None), []
    for split in SPLITS:
        try:
            locate(split, root)
        except GamesNotFoundError:
            continue
        present.append(split)
    if present:
        missing = [split for split in SPLITS if split not in present]
        lacking = f", without {', '.join(missing)}" if missing else ""
        return Finding(
            "official games", "note" if missing else "ok", f"{', '.join(present)} in {root}{lacking}",
            "stepopsd data alfworld --download" if missing else "",
        )  # fmt: skip
    return Finding(
        "official games", "missing" if needed else "note", f"none in {root}",
        "set ALFWORLD_DATA to their folder, or download them: stepopsd data alfworld --download; generated "
        "games need no download",
    )  # fmt: skip


def java(needed: bool) -> Finding:
    """Find a Java for Lucene."""
    from stepopsd_envs.search_qa.retrieval.java import find_java

    try:
        return Finding("Java", "ok", str(find_java().home))
    except (DependencyNotInstalled, RetrievalSetupError) as error:
        problem, _, _ = str(error).removeprefix("Lucene needs ").partition(". ")
        return Finding(
            "Java", "missing" if needed else "note", f"Lucene needs {problem}", install_command("search")
        )


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

    from stepopsd_agent.run.planning import device_memory

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
