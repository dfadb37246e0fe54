"""The setting ``tracking``: experiment trackers that show the metrics of a run."""

from stepopsd_envs.near_names import did_you_mean

TRACKERS = ("tensorboard", "wandb", "trackio")
"""Names that the setting ``tracking`` may hold."""


def chosen_trackers(text: str) -> tuple[str, ...]:
    """Return the trackers that a setting names, in its order; an empty tuple for "none".

    Args:
        text: names separated by commas, or "none".

    Raises:
        ValueError: a name is unknown, or given twice.
    """
    names = [name.strip() for name in text.split(",")]
    if names == ["none"]:
        return ()
    for name in names:
        if name not in TRACKERS or names.count(name) > 1:
            problem = f"names {name!r} twice" if name in TRACKERS else f"is {text!r}"
            hint = "" if name in TRACKERS else did_you_mean(name, TRACKERS)
            raise ValueError(
                f"tracking {problem}; {hint}give one or more of {', '.join(TRACKERS)}, separated by "
                "commas, or none"
            )
    return tuple(names)
