"""``stepopsd doctor``: check whether machine and installation have what a purpose needs."""

from pathlib import Path

from jsonargparse import Namespace

from stepopsd_agent.cli.health import PURPOSES, examined
from stepopsd_agent.cli.parser import Parser

HELP = "check packages, processor, GPU, memory, Java and games, and say how to get what is missing"
USES: frozenset[str] = frozenset()


def add_flags(parser: Parser) -> None:
    """The purpose, and the folder for runs."""
    parser.description = (
        f"{parser.description} Exit code 0: the purpose has all that it needs; 1: something is missing."
    )
    parser.usage = f"stepopsd doctor [--for {'|'.join(PURPOSES)}] [--out FOLDER]"
    parser.add_argument(
        "--for", choices=list(PURPOSES), default="train", metavar="PURPOSE", dest="purpose",
        help="train: tiny models; gpu: real ones; official: ALFWorld's games; lucene, dense: retrieval for "
        "Search-QA; lora: adapters; sb3: stable-baselines3; export: other formats (default: train)",
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
    width = max(len(one.name) for one in findings)
    for one in findings:
        print(f"{one.state:<8} {one.name:<{width}}  {one.found}")
        if one.remedy and one.state != "ok":
            print(f"{'':<8} {'':<{width}}  -> {one.remedy}")
    missing = [one.name for one in findings if one.state == "missing"]
    if missing:
        print(f"{settings.purpose}: not possible yet; missing: {', '.join(missing)}")
        return 1
    print(f"{settings.purpose}: this machine has what it needs")
    return 0
