"""The command that installs an extra, in a checkout and without one."""

import shlex
from pathlib import Path

from stepopsd_envs.extras import SOURCE, install_command


def test_install_command_of_a_checkout_takes_the_tested_versions(tmp_path: Path) -> None:
    """From any folder, however the checkout's is called; some extras want other versions than those."""
    place = tmp_path / "my games"
    place.mkdir()
    (place / "setup.cfg").touch()
    tested = ["-c", f"{place}/constraints.txt", "-e", f"{place}[ray]"]
    assert shlex.split(install_command("ray", place)) == ["pip", "install", *tested]
    assert shlex.split(install_command("vllm", place)) == ["pip", "install", "-e", f"{place}[vllm]"]
    assert shlex.split(install_command(None, place))[-2:] == ["-e", str(place)]
    assert (SOURCE / "constraints.txt").is_file() and str(SOURCE) in install_command("ray")


def test_install_command_without_a_checkout_adds_to_the_package(tmp_path: Path) -> None:
    """Then pip knows from the installed package what its extras need."""
    assert shlex.split(install_command("ray", tmp_path)) == ["pip", "install", "stepopsd[ray]"]
    assert shlex.split(install_command(None, tmp_path)) == ["pip", "install", "stepopsd"]
