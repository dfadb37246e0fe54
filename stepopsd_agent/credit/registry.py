"""Credit methods by name, each loaded when it is made.

A new method is one file, a frozen dataclass with its docstrings, and one `register` line at the end of this
one; `docs/credit-methods.md` is made from the docstrings.
"""

from dataclasses import fields as dataclass_fields
from difflib import get_close_matches
from importlib import import_module
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepopsd_agent.credit.base import CreditMethod

_ENTRIES: dict[str, str] = {}


def register(name: str, entry: str) -> None:
    """Give a method a name. `entry` is "module:Class"; nothing is imported before the method is made."""
    if _ENTRIES.get(name, entry) != entry:  # a file that is run and imported registers the same twice
        raise ValueError(
            f"credit method {name!r} is registered already, as {_ENTRIES[name]}: choose another name"
        )
    module, colon, attribute = entry.partition(":")
    if not (module and colon and attribute):
        raise ValueError(f"entry is {entry!r}; it must read 'module:Class'")
    _ENTRIES[name] = entry


def names() -> tuple[str, ...]:
    """Registered names, sorted."""
    return tuple(sorted(_ENTRIES))


def load(name: str) -> "type[CreditMethod]":
    """The dataclass registered under a name.

    Args:
        name: of the method; "module:name" imports the module first, which registers it.

    Raises:
        ValueError: no such name, with the nearest one in the message; or the module is not there.
    """
    module, _, plain = name.rpartition(":")
    if module:
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            raise ValueError(f"credit method {name!r}: there is no module {error.name!r}") from error
    if plain not in _ENTRIES:
        near = get_close_matches(plain, _ENTRIES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"no credit method {plain!r}: {hint}registered are {', '.join(names())}")
    try:
        method: type[CreditMethod] = resolve_name(_ENTRIES[plain])
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"credit method {plain!r} is registered as {_ENTRIES[plain]}, but {error}"
        ) from error
    return method


def make(name: str, **fields: Any) -> "CreditMethod":
    """A credit method with these fields, the others at the paper's values.

    Raises:
        ValueError: no such name, or a field has a value that is not allowed.
        TypeError: the method has no such field.
    """
    method = load(name)
    known = [spec.name for spec in dataclass_fields(method)]
    if unknown := sorted(set(fields) - set(known)):
        raise TypeError(
            f"credit method {name!r} has no field {', '.join(unknown)}; its fields are {', '.join(known)}"
        )
    return method(**fields)


register("agent_opsd", "stepopsd_agent.credit.agent_opsd:AgentOPSD")
register("dr_grpo", "stepopsd_agent.credit.dr_grpo:DrGRPO")
register("gigpo", "stepopsd_agent.credit.gigpo:GiGPO")
register("graph_hca", "stepopsd_agent.credit.graph_hca:GraphHCA")
register("grpo", "stepopsd_agent.credit.grpo:GRPO")
register("grpo_opsd", "stepopsd_agent.credit.grpo_opsd:GRPOOPSD")
register("hgpo", "stepopsd_agent.credit.hgpo:HGPO")
register("igpo", "stepopsd_agent.credit.igpo:IGPO")
register("opsd", "stepopsd_agent.credit.opsd:OPSD")
register("oracle", "stepopsd_agent.credit.oracle:Oracle")
register("reinforce_pp", "stepopsd_agent.credit.reinforce_pp:ReinforcePP")
register("rloo", "stepopsd_agent.credit.rloo:RLOO")
register("rlsd", "stepopsd_agent.credit.rlsd:RLSD")
register("rtmc", "stepopsd_agent.credit.rtmc:RTMC")
register("sdar", "stepopsd_agent.credit.sdar:SDAR")
register("sdpo", "stepopsd_agent.credit.sdpo:SDPO")
register("skill_sd", "stepopsd_agent.credit.skill_sd:SkillSD")
register("step_opsd", "stepopsd_agent.credit.step_opsd:StepOPSD")
register("turn_gae", "stepopsd_agent.credit.turn_gae:TurnGAE")
register("vine", "stepopsd_agent.credit.vine:Vine")
