"""Recipes: the config files that come with the package, by name."""

from pathlib import Path

from stepopsd_envs.near_names import did_you_mean

FOLDER = Path(__file__).with_name("recipes")


def recipe_names() -> list[str]:
    """All names, such as "alfworld_quickstart" and "paper/alfworld_qwen3_1.7b"."""
    return sorted(
        path.relative_to(FOLDER).as_posix().removesuffix(".yaml") for path in FOLDER.rglob("*.yaml")
    )


def recipes_near(name: str) -> str:
    """The rest of a sentence about a name that no recipe has: the nearest, and all there are."""
    return f"{did_you_mean(name, recipe_names())}the recipes are {', '.join(recipe_names())}"


def recipe(name: str) -> Path:
    """The file of a recipe.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in recipe_names():
        raise ValueError(f"there is no recipe {name!r}: {recipes_near(name)}")
    return FOLDER / f"{name}.yaml"
