"""``stepopsd config``: the recipes that come with the package, listed, shown, or copied to be changed."""

from jsonargparse import Namespace

from stepopsd_agent.cli.checks import UsageError
from stepopsd_agent.cli.parser import Parser
from stepopsd_agent.config import recipe, recipe_names
from stepopsd_agent.run.files import write_bytes_atomic
from stepopsd_envs.user_path import user_path

HELP = "list, show or copy the recipes, config files that --config takes by name"
USES: frozenset[str] = frozenset()


def add_flags(parser: Parser) -> None:
    """What to do, with which recipe."""
    parser.usage = "stepopsd config list | show NAME | copy NAME [--out FILE]"
    parser.add_argument("action", choices=["list", "show", "copy"], help="what to do")
    parser.add_argument("name", nargs="?", choices=recipe_names(), help="of a recipe", metavar="NAME")
    parser.add_argument(
        "--out", type=str, metavar="FILE", help="copy: where it goes (default: its own name, in this folder)"
    )


def run(settings: Namespace) -> int:
    """Print or copy."""
    if settings.out is not None and settings.action != "copy":
        raise UsageError(f"--out names the copy of a recipe; {settings.action} makes none, so leave it out")
    if settings.action == "list":
        if settings.name is not None:
            raise UsageError("list takes no name; to see one recipe: stepopsd config show NAME")
        for name in recipe_names():
            print(f"{name:<28} {purpose(name)}")
        return 0
    if settings.name is None:
        names = ", ".join(recipe_names())
        raise UsageError(f"which recipe? stepopsd config {settings.action} NAME, with one of {names}")
    if settings.action == "show":
        print(recipe(settings.name).read_text(encoding="utf-8"), end="")
        return 0
    path = user_path(settings.out or recipe(settings.name).name)
    if path.exists():
        raise UsageError(f"{path} is there already; remove it, or name another file with --out")
    write_bytes_atomic(path, recipe(settings.name).read_bytes())
    print(f"{path}: change what you like, then give it to --config")
    return 0


def purpose(name: str) -> str:
    """The first sentence of a recipe's comment."""
    lines = recipe(name).read_text(encoding="utf-8").splitlines()
    comment = " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
    return comment.partition(". ")[0].partition(": ")[0]
