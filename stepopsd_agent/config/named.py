"""Recipes: the config files that come with the package, by name."""

from pathlib import Path

FOLDER = Path(__file__).with_name("recipes")


def recipe_names() -> list[str]:
    """All names, such as "alfworld_quickstart" and "paper/alfworld_qwen3_1.7b"."""
    return sorted(
        path.relative_to(FOLDER).as_posix().removesuffix(".yaml") for path in FOLDER.rglob("*.yaml")
    )


def recipe(name: str) -> Path:
    """The file of a recipe.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in recipe_names():
        raise ValueError(f"there is no recipe {name!r}; there are {', '.join(recipe_names())}")
    return FOLDER / f"{name}.yaml"
