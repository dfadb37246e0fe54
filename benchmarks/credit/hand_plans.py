"""A plan for each of ALFWorld's six forms of tasks, written by hand; nothing in it is learned.

`path_gain` with `lifted` learns from attempts how far the goal is in the terms of a task. This is what a
person who knows the six forms would write down instead, over the same worlds (`tasks.Lifted`): find the
object, take it, treat it, bring it. It reads such a world and nothing else, so it knows no more of an episode
than the learned graph: not where the object lies, and not which receptacle cleans, heats or cools, unless it
is told that the agent stands there (`TOOL`).

Steps are counted as if the way were clear: 2 to fetch an object that is not in sight (go there, take it), 2
to treat it (go there, treat it), 3 to bring it (go there, open, put it down). Whoever stands at the target
with the object has 2 to go, or 1 once a target was opened: one without a door is only done with sooner. No
number was fitted to recordings.
"""

from collections.abc import Mapping

from stepopsd_agent.tasks import Lifted, World
from stepopsd_envs.alfworld.tasks import TOOLS
from stepopsd_wrappers import Episode

LOOK, TWO = "look_at_obj_in_light", "pick_two_obj_and_place"
TOOL = "tool at hand: yes"
"""A fact that `tasks.Lifted` does not have, see `lifted_terms.with_tool`."""
FETCH, TREAT, BRING = 2, 2, 3
Facts = Mapping[str, str]


def distance(form: str, world: World) -> int:
    """Steps from a lifted world to the goal of a task of this form, 0 at the goal."""
    facts = dict(fact.split(": ", 1) for fact in world)
    return _until_seen_in_light(facts) if form == LOOK else _until_placed(form, facts)


def _until_seen_in_light(facts: Facts) -> int:
    """The object in hand, where the lamp stands, and the lamp on."""
    lamp_here, switch = _sees(facts, "target"), int(facts.get("target's switch") != "on")
    if _in_hand(facts):
        return int(not lamp_here) + switch
    return _fetched(facts, 0) + int(not (lamp_here and _sees(facts, "object"))) + switch


def _until_placed(form: str, facts: Facts) -> int:
    """One object in the target, treated where the form says so; or two of them."""
    state = TOOLS[form].state if form in TOOLS else None
    ready = _treated(facts, state)
    done = sum(_is_placed(facts, name, state) for name in ready)
    missing = (2 if form == TWO else 1) - done
    if missing <= 0:
        return 0
    others = (missing - 1) * (FETCH + BRING)
    if not _in_hand(facts):
        return others + _fetched(facts, done) + (0 if state is None or ready else TREAT) + BRING
    if state is not None and facts["holding"] not in ready:
        return others + TREAT - int(facts.get("tool at hand") == "yes") + BRING
    if facts.get("at") != "target":
        return others + BRING
    return others + (1 if facts.get("target's door") == "open" else 2)


def _treated(facts: Facts, state: str | None) -> list[str]:
    """The objects in this state; without one, all that the episode had in hand and left elsewhere, or has."""
    if state is not None:
        return [name.partition("'s ")[0] for name, value in facts.items() if "'s " in name and value == state]
    return [name for name, value in facts.items() if name.startswith("object ") and value == "in target"]


def _is_placed(facts: Facts, name: str, state: str | None) -> bool:
    """Whether an object lies in the target.

    A world leaves out where a thing lies if it lay there at first. So a treated object without a place that
    is not in hand is back where it was; seen at the target, it lay and lies there.
    """
    if facts.get(name) == "in target":
        return True
    back = state is not None and name not in facts and facts.get("holding") != name
    return back and facts.get("at") == "target" and _sees(facts, "object")


def _fetched(facts: Facts, done: int) -> int:
    """Steps until the object is in hand; something else in hand has to be put down first.

    At a target where one object was placed already, that is the one in sight.
    """
    seen = _sees(facts, "object") and not (done and facts.get("at") == "target")
    return (FETCH - 1 if seen else FETCH) + int("holding" in facts)


def _in_hand(facts: Facts) -> bool:
    return facts.get("holding", "").startswith("object ")


def _sees(facts: Facts, role: str) -> bool:
    return facts.get(f"{role} in sight") == "yes"


def points(episode: Episode, told: Lifted, all_events: bool = False) -> list[float]:
    """One point for each step that comes to see the object, takes it, or goes to the target with it.

    The target of a task of looking is the lamp, which is gone to where it comes in sight.

    Args:
        episode: the record.
        told: the same in the terms of its task.
        all_events: one point, too, for treating the object or using the lamp, and for putting the object down
            at the target.
    """
    worlds = [dict(fact.split(": ", 1) for fact in world) for world in told.worlds]
    places = zip(episode.steps[1:], worlds[:-1], worlds[1:], strict=True)
    return [
        float(
            step.info["step"]["valid"]
            and (_earns(step.action, before, after, told.form) or (all_events and _earns_more(before, after)))
        )
        for step, before, after in places
    ]


def _earns(command: str, before: Facts, after: Facts, form: str) -> bool:
    if not _in_hand(after):
        return not _in_hand(before) and _sees(after, "object") and not _sees(before, "object")
    there = _sees(after, "target") if form == LOOK else after.get("at") == "target"
    return not _in_hand(before) or (command.strip().startswith("go to ") and there)


def _earns_more(before: Facts, after: Facts) -> bool:
    treated = any(
        after.get(name) != before.get(name) for name in after if "'s " in name and "door" not in name
    )
    put = _in_hand(before) and not _in_hand(after) and after.get("at") == "target"
    return treated or put
