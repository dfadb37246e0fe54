"""``stepopsd config``: list, show or copy the recipes of the package."""

from jsonargparse import Namespace

from stepopsd_agent.cli.checks import UsageError
from stepopsd_agent.cli.parser import Parser
from stepopsd_agent.config import recipe, recipe_names
from stepopsd_agent.run.files import write_bytes_atomic
from stepopsd_envs.near_names import did_you_mean
from stepopsd_envs.user_path import user_path

HELP = "list, show or copy the recipes: config files of the package that --config takes by name"
USES: frozenset[str] = frozenset()


def add_flags(parser: Parser) -> None:
    """The action, and the recipe."""
    parser.usage = "stepopsd config list | show NAME | copy NAME [--out FILE]"
    parser.add_argument("action", choices=["list", "show", "copy"], help="what to do")
    parser.add_argument("name", nargs="?", type=str, help="name of a recipe", metavar="NAME")
    parser.add_argument(
        "--out", type=str, metavar="FILE", help="copy: file to write (default: the recipe's name)"
    )


def run(settings: Namespace) -> int:
    """List, print or copy."""
    if settings.out is not None and settings.action != "copy":
        raise UsageError(f"--out is for copy alone; leave it out with {settings.action}")
    if settings.action == "list":
        if settings.name is not None:
            raise UsageError("list takes no name; to see one recipe: stepopsd config show NAME")
        for name in recipe_names():
            print(f"{name:<28} {purpose(name)}")
        return 0
    if settings.name is None:
        names = ", ".join(recipe_names())
        raise UsageError(f"{settings.action} needs the name of a recipe; give one of {names}")
    if settings.name not in recipe_names():
        near = did_you_mean(settings.name, recipe_names())
        raise UsageError(f"there is no recipe {settings.name!r}: {near}give {', '.join(recipe_names())}")
    source = recipe(settings.name)
    if settings.action == "show":
        print(source.read_text(encoding="utf-8"), end="")
        return 0
    path = user_path(source.name if settings.out is None else settings.out)
    if path.exists():
        raise UsageError(f"{path} is there already; remove it, or name another file with --out")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(path, source.read_bytes())
    print(f"written to {path}; edit it, and pass it with --config {path}")
    return 0


def purpose(name: str) -> str:
    """The first sentence of a recipe's comment."""
    lines = recipe(name).read_text(encoding="utf-8").splitlines()
    comment = " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
    return comment.partition(". ")[0].partition(": ")[0]
