"""The texts of a game as plain data: templates of commands and feedback, and the rules that they use."""

from dataclasses import dataclass


class WordingError(ValueError):
    """A template, condition or grammar cannot be used: `where` is its position, `problem` the reason."""

    def __init__(self, where: str, problem: str) -> None:
        """Store position and reason."""
        super().__init__(where, problem)
        self.where, self.problem = where, problem


@dataclass(frozen=True)
class Wording:
    """Templates in the notation of the official grammar; equal wordings compile once.

    Attributes:
        actions: (action, command template, feedback template), e.g. ("OpenObject", "open {r}", "#opened#").
        rules: (symbol, alternatives); each alternative is (condition, text), and the first whose condition
            holds replaces `#symbol#`.
    """

    actions: tuple[tuple[str, str, str], ...]
    rules: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]


_HERE = "atlocation(a:agent, l:location) & receptacleatlocation(r:receptacle, l:location)"
_LEFT_BESIDE = (
    "atlocation(a:agent, l:location) & objectatlocation(o:object, l:location) & "
    "receptacleatlocation(r:receptacle, l:location) & not_inreceptacle(o:object, r:receptacle)"
)
_WITHIN = "[{o.indefinite + ' ' + o.name | inreceptacle(o:object, r:receptacle)}]"

# Descriptions of an item by its properties; the first row whose properties all hold is used.
_LOOKS = (
    ("isclean ishot issliced", "This is a hot and clean sliced {o.name}."),
    ("isclean iscool issliced", "This is a cool and clean sliced {o.name}."),
    ("isclean issliced", "This is a clean sliced {o.name}."),
    ("ishot issliced", "This is a hot sliced {o.name}."),
    ("iscool issliced", "This is a cool sliced {o.name}."),
    ("isclean ishot", "This is a hot and clean {o.name}."),
    ("isclean iscool", "This is a cool and clean {o.name}."),
    ("ishot", "This is a hot {o.name}."),
    ("isclean", "This is a clean {o.name}."),
    ("iscool", "This is a cold {o.name}."),
    ("toggleable istoggled", "This {o.name} is on."),
    ("sliceable issliced", "This is a sliced {o.name}."),
    ("", "There's nothing special about {o.name}."),
)

_HELP = (
    ("look:", "look around your current location"),
    ("inventory:", "check your current inventory"),
    ("go to (receptacle):", "move to a receptacle"),
    ("open (receptacle):", "open a receptacle"),
    ("close (receptacle):", "close a receptacle"),
    ("take (object) from (receptacle):", "take an object from a receptacle"),
    ("move (object) to (receptacle): ", "place an object in or on a receptacle"),  # spacing of the original
    ("examine (something):", "examine a receptacle or an object"),
    ("use (object):", "use an object"),
    ("heat (object) with (receptacle):", "heat an object using a receptacle"),
    ("clean (object) with (receptacle):", "clean an object using a receptacle"),
    ("cool (object) with (receptacle):", "cool an object using a receptacle"),
    ("slice (object) with (object):", "slice an object using a sharp object"),
)


_HELP_TEXT = "Available commands:\n" + "".join(
    f"  {verb} {text}\n" if verb.startswith("move") else f"  {verb:<33} {text}\n" for verb, text in _HELP
)


def _all_of(properties: str) -> str:
    return " & ".join(f"{name}(o:object)" for name in properties.split())


_ACTIONS = (
    ("look", "look", "#surroundings#"),
    ("inventory", "inventory", "#hand#"),
    ("help", "help", "#help#"),
    ("examineReceptacle", "examine {r}", "#seen#"),
    ("examineObject", "examine {o}", "#item#"),
    ("GotoLocation", "go to {r}", "You arrive at {r}. #seen#"),
    ("OpenObject", "open {r}", "You open the {r}. #seen#"),
    ("CloseObject", "close {r}", "You close the {r}."),
    ("PickupObject", "take {o} from {r}", "You pick up the {o} from the {r}."),
    ("PutObject", "move {o} to {r}", "You move the {o} to the {r}."),
    ("CleanObject", "clean {o} with {r}", "You clean the {o} using the {r}."),
    ("HeatObject", "heat {o} with {r}", "You heat the {o} using the {r}."),
    ("CoolObject", "cool {o} with {r}", "You cool the {o} using the {r}."),
    ("ToggleObject", "use {o}", "You turn on the {o}."),  # an item that was switched on stays on
    ("SliceObject", "slice {co} with {ko}", "You sliced the {co} with the {ko}."),
)

_RULES = (
    ("help", (("", _HELP_TEXT),)),
    ("intro", (("", "-= Welcome to TextWorld, ALFRED! =-\n\n#surroundings#\n\n#task#"),)),
    (
        "surroundings",
        (
            (_HERE, f"You are facing the [{{r.name | {_HERE}}}]. Next to it, you see #beside#."),
            ("", "You are in the middle of a room. Looking quickly around you, you see #furniture#."),
        ),
    ),
    ("beside", (("", f"[{{o.indefinite + ' ' + o.name | {_LEFT_BESIDE}}}]"),)),
    (
        "furniture",
        (("", "[{r.indefinite + ' ' + r.name | receptacleatlocation(r:receptacle, l:location)}]"),),
    ),
    (
        "seen",
        (
            (
                "openable(r:receptacle) & opened(r:receptacle)",
                f"The {{r}} is open. In it, you see {_WITHIN}.",
            ),
            ("openable(r:receptacle)", "The {r} is closed."),
            ("", f"On the {{r}}, you see {_WITHIN}."),
        ),
    ),
    (
        "hand",
        (
            (
                "holdsany(a:agent)",
                "You are carrying: [{o.indefinite + ' ' + o.name | holds(a:agent, o:object)}].",
            ),
            ("", "You are not carrying anything."),
        ),
    ),
    (
        "item",
        (
            (
                "isreceptacleobject(o:object)",
                "This is a normal {o}. In it, you see "
                "[{o2.indefinite + ' ' + o2.name | inreceptacleobject(o2:object, o:object)}].",
            ),
            *((_all_of(properties), text) for properties, text in _LOOKS),
        ),
    ),
    ("list_empty", (("", "nothing"),)),
    ("list_separator", (("", ", "),)),
    ("list_last_separator", (("", ", and "),)),
)

# In the order of a file, so that an exported game equals the original.
DEFAULT_WORDING = Wording(actions=tuple(sorted(_ACTIONS)), rules=tuple(sorted(_RULES)))
"""The texts of the current release, for games that do not come from a file."""
