"""``stepopsd doctor``: what is missing is named with its remedy, and the exit code is of the purpose."""

import importlib.metadata
from pathlib import Path

import pytest
import torch

from stepopsd_agent.cli.commands import doctor
from stepopsd_agent.cli.main import main
from stepopsd_envs.extras import install_command


def without(missing: dict[str, str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let packages be of another version meanwhile, or not be there."""
    real = importlib.metadata.version

    def version(name: str) -> str:
        found = missing.get(name, real(name) if name not in missing else None)
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(importlib.metadata, "version", version)


def test_doctor_finds_this_installation_fit_to_train(capsys: pytest.CaptureFixture[str]) -> None:
    """The tests run in it."""
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "train: this machine has what it needs" in text
    assert all(name in text for name in ("Python", "packages", "processors", "memory", "disk", "Java"))


def test_doctor_names_packages_that_are_absent_or_too_old(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each by its name; nothing that needs them can run."""
    without({"safetensors": None, "numpy": "1.20.0"}, monkeypatch)
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "safetensors is not installed" in text and "numpy 1.20.0 is not >=1.26" in text
    assert "train: not possible yet; missing: packages" in text


def test_doctor_knows_a_build_of_another_name_by_its_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As vLLM's for processors without a GPU have; its version counts."""
    assert doctor.installed_version("certainly-absent") is None
    (tmp_path / "certainly_absent").mkdir()
    (tmp_path / "certainly_absent" / "__init__.py").write_text("")
    facts = tmp_path / "certainly_absent_cpu-0.32.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: certainly-absent-cpu\nVersion: 0.32.0\n")
    (facts / "top_level.txt").write_text("certainly_absent\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert doctor.installed_version("certainly-absent") == "0.32.0"


def test_doctor_asks_for_an_extra_only_where_the_purpose_needs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without it training goes on; exports do not."""
    without({"minari": None}, monkeypatch)
    assert main(["doctor"]) == 0
    assert main(["doctor", "--for", "export"]) == 1
    text = capsys.readouterr().out
    assert "minari is not installed" in text and install_command("export") in text
    assert "export]'" in install_command("export")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_doctor_for_gpu_says_what_pytorch_sees(capsys: pytest.CaptureFixture[str]) -> None:
    """No GPU: the purpose lacks it."""
    assert main(["doctor", "--for", "gpu"]) == 1
    assert torch.__version__ in capsys.readouterr().out


def test_doctor_for_the_official_games_looks_where_they_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In ALFWORLD_DATA; an empty folder has none."""
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    assert main(["doctor", "--for", "official"]) == 1
    text = capsys.readouterr().out
    assert str(tmp_path) in text and "stepopsd data alfworld --download" in text


def test_little_memory_and_disk_are_worth_a_note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They do not stop anything."""
    monkeypatch.setattr(doctor, "LEAST_MEMORY", 10**6)
    monkeypatch.setattr(doctor, "LEAST_DISK", 10**9)
    for finding in (doctor.memory(), doctor.disk(tmp_path)):
        assert finding.state == "note" and finding.remedy


def test_disk_is_that_of_a_folder_that_is_not_there_yet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The nearest folder above it."""
    assert main(["doctor", "--out", str(tmp_path / "runs" / "first")]) == 0
    assert f"disk ({tmp_path})" in capsys.readouterr().out


def test_every_extra_of_the_project_is_declared_with_packages() -> None:
    """So that a finding of an extra is never empty by mistake."""
    for extra in ("alfworld", "search", "lora", "sb3", "ray", "vllm", "export"):
        assert list(doctor.requirements(extra))
    names = {one.name for one in doctor.requirements(None)}
    assert {"torch", "gymnasium"} <= names and "peft" not in names


def test_doctor_for_search_qa_searches_the_synthetic_world(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It finds passages; and where it fails, the purpose lacks it."""
    assert main(["doctor", "--for", "searchqa"]) == 0
    text = capsys.readouterr().out
    assert "the synthetic world, " in text and "stepopsd index FILE" in text and "Java" in text

    def broken(self: object, **options: object) -> None:
        raise OSError("no passages")

    monkeypatch.setattr("stepopsd_envs.search_qa.env.SearchQAEnv.reset", broken)
    assert main(["doctor", "--for", "searchqa"]) == 1
    assert "searchqa: not possible yet; missing: questions" in capsys.readouterr().out


def test_doctor_for_who_plays_names_package_and_memory(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """VLLM needs both; Ray its package."""
    without({"vllm": "0.29.0", "ray": None}, monkeypatch)
    monkeypatch.setattr(doctor, "LEAST_ENGINE_MEMORY", 0.001)
    assert main(["doctor", "--for", "vllm"]) == 0
    monkeypatch.setattr(doctor, "LEAST_ENGINE_MEMORY", 10.0**9)
    assert main(["doctor", "--for", "vllm"]) == 1
    text = capsys.readouterr().out
    assert "missing: memory for vllm" in text and "--rollout.url" in text
    without({"vllm": None, "ray": None}, monkeypatch)
    assert main(["doctor", "--for", "vllm"]) == 1 and main(["doctor", "--for", "ray"]) == 1
    text = capsys.readouterr().out
    assert install_command("vllm") in text and install_command("ray") in text
