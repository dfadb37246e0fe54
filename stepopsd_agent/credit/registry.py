"""Credit methods by name, each loaded when it is made.

A new method is one file, a frozen dataclass with its docstrings, and one `register` line at the end of this
one; `docs/credit-methods.md` is made from the docstrings.
"""

from collections.abc import Set
from dataclasses import MISSING, Field, fields as dataclass_fields
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from stepopsd_agent.config import check_kind
from stepopsd_envs.near_names import did_you_mean, import_named, module_hint

if TYPE_CHECKING:
    from stepopsd_agent.credit.base import CreditMethod

_ENTRIES: dict[str, str] = {}


def register(name: str, entry: str) -> None:
    """Give a method a name. `entry` is "module:Class"; nothing is imported before the method is made.

    Raises:
        ValueError: the name has a colon, is empty or is taken, or the entry does not read "module:Class".
    """
    if not name or ":" in name:
        raise ValueError(f"name is {name!r}; give a name without a colon")
    if _ENTRIES.get(name, entry) != entry:  # a file that is both run and imported registers twice
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
        ValueError: there is no such name (the message has the nearest one) or no such module, or the class
            does not declare what `CreditMethod` asks for.
    """
    if not isinstance(name, str):
        raise ValueError(f"the credit method is {name!r:.60}; give a name, such as 'step_opsd'")
    module, _, plain = name.rpartition(":")
    if module:
        try:
            import_named(module)
        except ModuleNotFoundError as error:
            hint = module_hint(module, error.name)
            raise ValueError(f"credit method {name!r}: there is no module {error.name!r}: {hint}") from error
    if plain not in _ENTRIES:
        raise ValueError(_unknown(module, plain))
    try:
        method = resolve_name(_ENTRIES[plain])
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"credit method {plain!r} is registered as {_ENTRIES[plain]}, but {error}"
        ) from error
    return _declared(plain, method)


def _unknown(module: str, name: str) -> str:
    """What to say of a name that is not registered, though its module, if it has one, was imported."""
    hint = did_you_mean(name, _ENTRIES)
    if not module:
        return (
            f"no credit method {name!r}: {hint}registered are {', '.join(names())}; module:name imports the "
            "module that registers another"
        )
    own = [known for known in names() if _ENTRIES[known].startswith(f"{module}:")]
    found = f"registers {', '.join(own)}" if own else "registers none"
    return (
        f"no credit method {name!r}: module {module!r} {found}; the name behind the colon is the one in its "
        f'line credit.register({name!r}, "{module}:Class")'
    )


def _declared(name: str, method: Any) -> "type[CreditMethod]":
    """The method, if it declares what `CreditMethod` asks for."""
    if not hasattr(method, "__dataclass_fields__"):
        raise ValueError(f"credit method {name!r} is {method!r}; it must be a frozen dataclass")
    faults = [f"{spec.name} has no default" for spec in dataclass_fields(method) if not _has_default(spec)]
    faults += [f"{part} is missing" for part in _PARTS if not hasattr(method, part)]
    faults = faults or _misnamed(method())
    if faults:
        raise ValueError(f"credit method {name!r} cannot be used: {'; '.join(faults)}. See credit/base.py")
    declared: type[CreditMethod] = method
    return declared


def _misnamed(method: Any) -> list[str]:
    """What a method of all parts declares that there is not."""
    from stepopsd_agent.batch import column_fields  # late: both import torch, as every method does
    from stepopsd_agent.credit.base import Claim

    own, claims = [spec.name for spec in dataclass_fields(method)], get_args(Claim)
    faults = []
    for part, known, refused in (
        ("needs", column_fields(), "no batch has the column {}"),
        ("scheduled", own, f"scheduled has {{}}, which is none of its fields {', '.join(own)}"),
        ("claims", claims, f"claims has {{}}, which is none of {', '.join(claims)}"),
    ):
        given = getattr(method, part)
        if not isinstance(given, Set):
            faults.append(f"{part} is {given!r}, and must be a set of names")
        else:
            faults += [refused.format(repr(name)) for name in sorted(given - set(known))]
    return faults


def _has_default(spec: "Field[Any]") -> bool:
    return spec.default is not MISSING or spec.default_factory is not MISSING


_PARTS = ("paper", "needs", "scheduled", "claims")
"""Class variables and properties that every method declares, see `base`."""


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
    hints = get_type_hints(method)
    for field_name, value in fields.items():
        check_kind(field_name, value, hints[field_name])
    return method(**fields)


register("agent_opsd", "stepopsd_agent.credit.agent_opsd:AgentOPSD")
register("dr_grpo", "stepopsd_agent.credit.dr_grpo:DrGRPO")
register("g2po", "stepopsd_agent.credit.g2po:G2PO")
register("gigpo", "stepopsd_agent.credit.gigpo:GiGPO")
register("graph_gpo", "stepopsd_agent.credit.graph_gpo:GraphGPO")
register("graph_hca", "stepopsd_agent.credit.graph_hca:GraphHCA")
register("grpo", "stepopsd_agent.credit.grpo:GRPO")
register("grpo_opsd", "stepopsd_agent.credit.grpo_opsd:GRPOOPSD")
register("hgpo", "stepopsd_agent.credit.hgpo:HGPO")
register("igpo", "stepopsd_agent.credit.igpo:IGPO")
register("opsd", "stepopsd_agent.credit.opsd:OPSD")
register("oracle", "stepopsd_agent.credit.oracle:Oracle")
register("path_gain", "stepopsd_agent.credit.path_gain:PathGain")
register("reinforce_pp", "stepopsd_agent.credit.reinforce_pp:ReinforcePP")
register("rloo", "stepopsd_agent.credit.rloo:RLOO")
register("rlsd", "stepopsd_agent.credit.rlsd:RLSD")
register("rtmc", "stepopsd_agent.credit.rtmc:RTMC")
register("sdar", "stepopsd_agent.credit.sdar:SDAR")
register("sdpo", "stepopsd_agent.credit.sdpo:SDPO")
register("skill_sd", "stepopsd_agent.credit.skill_sd:SkillSD")
register("step_opsd", "stepopsd_agent.credit.step_opsd:StepOPSD")
register("tigpo", "stepopsd_agent.credit.tigpo:TIGPO")
register("turn_gae", "stepopsd_agent.credit.turn_gae:TurnGAE")
register("vine", "stepopsd_agent.credit.vine:Vine")
