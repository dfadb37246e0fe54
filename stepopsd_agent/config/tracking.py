"""Where metrics are shown, beside the files of the run folder."""

TRACKERS = ("tensorboard", "wandb", "trackio")
"""What the setting ``tracking`` may name."""


def chosen_trackers(text: str) -> tuple[str, ...]:
    """The trackers that a setting names, in its order; none for "none".

    Args:
        text: names with commas between them.

    Raises:
        ValueError: a name is unknown, or stands twice.
    """
    names = [name.strip() for name in text.split(",")]
    if names == ["none"]:
        return ()
    for name in names:
        if name not in TRACKERS or names.count(name) > 1:
            problem = f"names {name!r} twice" if name in TRACKERS else f"is {text!r}"
            raise ValueError(
                f"tracking {problem}; give one or more of {', '.join(TRACKERS)}, with commas between, or none"
            )
    return tuple(names)
