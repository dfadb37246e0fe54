"""How optional packages are installed: the one place that knows the command."""

from pathlib import Path


def install_command(extra: str) -> str:
    """Return the command that installs an extra: from this checkout, or else from the package index."""
    checkout = Path(__file__).parents[1]
    if (checkout / "setup.cfg").is_file():
        return f"pip install -e '{checkout}[{extra}]'"
    return f"pip install 'stepopsd[{extra}]'"
