"""ALFWorld's episodes in the terms of their task: "put a clean mug in desk" becomes clean object, in target.

In relational planning this is called lifting: what one mug showed then holds for every object. It reads the
wordings of the goal and the texts that `alfworld.worlds` reads, and knows nothing else about the game.
"""

import re
from collections.abc import Iterable

from stepopsd_agent.tasks.base import Lifted, World
from stepopsd_envs.alfworld.tasks import GOAL_TEXTS
from stepopsd_wrappers import Episode

_THING = re.compile(r"\b([a-z]+) (\d+)\b")
"""The name of a thing: its kind and its number."""


def _pattern(wording: str) -> re.Pattern[str]:
    """Reads the kinds of the object and of the target from a goal of this wording."""
    words = {"{object}": r"(\w+)", "{target}": r"(\w+)", "in": "(?:in|on|in/on)", "on": "(?:in|on|in/on)"}
    return re.compile(" ".join(words.get(word, word) for word in wording.removesuffix(".").split()))


_GOALS = [(form, _pattern(text)) for form, texts in GOAL_TEXTS.items() for text in texts]


def lifted(episode: Episode, worlds: Iterable[World]) -> Lifted | None:
    """The episode in the terms of its task; None where the goal has no known wording.

    Kept are the facts about things whose kind the goal names. Those of the object's kind are numbered as the
    episode takes them up, so that the first is the same in every house. Added is whether a thing of such a
    kind is in sight where the agent stands.

    Args:
        episode: the record.
        worlds: of the same episode, see `TaskSpec.worlds`.
    """
    goal = str(episode.steps[0].info.get("goal", "")).strip().removesuffix(".")
    found = next(((form, match) for form, how in _GOALS if (match := how.fullmatch(goal))), None)
    if found is None:
        return None
    form, match = found
    roles = {match[1]: "object", match[2]: "target"}
    taken: dict[str, str] = {}

    def renamed(text: str) -> str:
        return _THING.sub(lambda name: taken.get(name[0]) or roles.get(name[1], "other"), text)

    states, seen, place = [], set[str](), ""
    for step, world in zip(episode.steps, worlds, strict=True):
        facts = dict(fact.split(": ", 1) for fact in world)
        if (now := facts.get("at", "")) != place:
            place, seen = now, set()
        if (held := facts.get("holding", "")) and roles.get(_kind(held)) == "object":
            taken.setdefault(held, f"object {len(taken) + 1}")
        if step is not episode.steps[0]:
            seen |= {roles[name[1]] for name in _THING.finditer(step.observation) if name[1] in roles}
        kept = {
            f"{renamed(name)}: {renamed(value)}"
            for name, value in facts.items()
            if name == "holding" or _kind(value if name == "at" else name).removesuffix("'s") in roles
        }
        near = seen - {roles.get(_kind(held)), roles.get(_kind(place))}
        states.append(frozenset(kept | {f"{role} in sight: yes" for role in near}))
    return Lifted(form, states)


def _kind(name: str) -> str:
    return name.partition(" ")[0]
