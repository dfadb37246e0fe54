"""Methods by name."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from stepopsd_agent import credit
from stepopsd_agent.cli.commands.credit import listing
from stepopsd_agent.credit import registry, scaled
from stepopsd_agent.credit.step_opsd import StepOPSD


def test_make_gives_the_method_with_its_fields() -> None:
    """What is not given has the paper's value."""
    assert credit.make("step_opsd", lambda_mix=0.05) == StepOPSD(lambda_mix=0.05)
    paper = StepOPSD()
    assert (paper.lambda_mix, paper.alpha_clip, paper.weight, paper.coef_clip) == (0.2, 0.2, "sigmoid", 2.0)
    assert (paper.step_norm, paper.baseline, paper.std) == ("equal_step_mean_abs", "episode", True)
    assert credit.load("step_opsd") is StepOPSD


def test_every_method_of_the_field_is_there() -> None:
    """By the names that configs use."""
    expected = """agent_opsd dr_grpo g2po gigpo graph_gpo graph_hca grpo grpo_opsd hgpo igpo opsd oracle
    path_gain reinforce_pp rloo rlsd rtmc sdar sdpo skill_sd step_opsd tigpo turn_gae vine"""
    assert set(expected.split()) <= set(credit.names())
    published = [(made.paper, type(made).__doc__) for made in map(credit.make, credit.names())]
    assert all(paper and doc and doc[0].isupper() for paper, doc in published)


def test_defaults_are_the_papers() -> None:
    """Those of the methods' own papers or code."""
    defaults: dict[str, dict[str, object]] = {
        "gigpo": {"gamma": 0.95, "step_weight": 1.0, "std": True, "baseline": "step"},
        "hgpo": {"history": 2, "gamma": 0.95, "alpha": 1.0},
        "graph_gpo": {"omega": 0.1, "graph_weight": 1.0, "exponent": "next", "baseline": "step"},
        "tigpo": {"gamma": 0.1, "history": True, "earlier_returns": True, "key": "observation"},
        "g2po": {"gamma": 0.95, "node_weight": 1.0, "edge_weight": 1.0, "baseline": "step"},
        "graph_hca": {"gamma": 0.95, "floor": 0.01, "graph_weight": 1.0, "ends": "shared"},
        "rtmc": {"gamma": 0.99},
        "turn_gae": {"gamma": 0.99, "lam": 0.9},
        "rlsd": {"lambda_mix": 0.5, "alpha_clip": 0.2},
        "agent_opsd": {"lambda_mix": 0.5, "alpha_clip": 0.2, "gamma": 0.95},
        "sdar": {"coef": 0.01, "gate_beta": 5.0},
        "grpo_opsd": {"coef": 0.01, "gate_beta": 0.0},
        "skill_sd": {"coef": 0.001},
        "opsd": {"objective": "jsd", "beta": 0.5},
        "sdpo": {"objective": "jsd", "alpha": 0.5, "ratio_clip": 2.0},
        "igpo": {"gamma": 1.0, "std": True, "norm": "joint"},
    }
    for name, fields in defaults.items():
        assert {field: vars(credit.make(name))[field] for field in fields} == fields


def test_scaled_multiplies_the_scheduled_fields_only() -> None:
    """Half-way through a linear schedule."""
    assert scaled(StepOPSD(alpha_clip=0.1), 0.5) == StepOPSD(lambda_mix=0.1, alpha_clip=0.1)
    grpo = credit.make("grpo")
    assert scaled(grpo, 0.5) == grpo


def test_make_refuses_values_of_another_type() -> None:
    """Which field and which values; a name that is no text, too."""
    with pytest.raises(ValueError, match=r"lambda_mix is '0.5'; give a number"):
        credit.make("step_opsd", lambda_mix="0.5")
    with pytest.raises(TypeError, match=r"method is the text 'grpo'; give credit.make\('grpo'\)"):
        credit.scaled("grpo", 0.5)  # type: ignore[type-var]
    with pytest.raises(ValueError, match="the credit method is None; give a name, such as"):
        credit.make(None)  # type: ignore[arg-type]


def test_make_names_the_nearest_method_and_the_fields() -> None:
    """A misspelt name or field."""
    with pytest.raises(
        ValueError,
        match=r"no credit method 'step_opds': did you mean 'step_opsd'\? registered are .*; module:name",
    ):
        credit.make("step_opds")
    with pytest.raises(TypeError, match=r"'grpo' has no field lambda; its fields are baseline, std, eps"):
        credit.make("grpo", **{"lambda": 1.0})


def test_a_module_that_python_does_not_find_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It mostly lies in the folder of the command, which is not searched; or what it imports is missing."""
    with pytest.raises(
        ValueError, match="no module 'method_of_a_test': put the folder it is in on PYTHONPATH"
    ):
        credit.load("method_of_a_test:mine")
    (tmp_path / "method_of_a_test.py").write_text("import no_such_package\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"it is in this folder, .* begin the command with PYTHONPATH=\.$"):
        credit.load("method_of_a_test:mine")
    monkeypatch.syspath_prepend(".")
    with pytest.raises(ValueError, match="there is no module 'no_such_package': install it"):
        credit.load("method_of_a_test:mine")


def test_register_refuses_a_name_twice_and_a_bad_entry() -> None:
    """One owner per name."""
    with pytest.raises(ValueError, match="'grpo' is registered already"):
        credit.register("grpo", "somewhere:Else")
    with pytest.raises(ValueError, match="it must read 'module:Class'"):
        credit.register("new", "somewhere")
    assert "new" not in credit.names()


def test_importing_the_registry_imports_no_torch() -> None:
    """Names and entries only; the method is loaded when made."""
    code = "import sys, stepopsd_agent.credit; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", credit.names())
def test_every_method_tells_its_equation_degenerate_cases_and_departures(name: str) -> None:
    """In its file, or that no departure is known; the upper bound has no paper to depart from."""
    text = sys.modules[credit.load(name).__module__].__doc__ or ""
    assert re.search(r"\n\n    \S", text), "an equation stands in an indented block"
    assert re.search(r"^Degenerate cases?\b.*:", text, re.MULTILINE)
    paper = credit.make(name).paper
    if not paper.startswith("none"):
        assert re.search(r"^Departures?\b.*:", text, re.MULTILINE)
        assert paper.rpartition("arXiv ")[2] in text.partition("\n")[0], "the first line names the paper"


def test_every_method_has_its_section_in_the_documentation() -> None:
    """Of the page that is made from the docstrings."""
    text = (Path(__file__).parents[3] / "docs" / "credit-methods.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## `(\w+)`$", text, re.MULTILINE)) == set(credit.names())


DECLARED = """
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Good:
    paper: ClassVar[str] = "none"
    needs: ClassVar[frozenset[str]] = frozenset()
    scheduled: ClassVar[frozenset[str]] = frozenset()
    claims: ClassVar[frozenset[str]] = frozenset()


class NoDataclass(Good): ...


@dataclass(frozen=True)
class Typo(Good):
    needs: ClassVar[frozenset[str]] = frozenset({"text_keys"})


@dataclass(frozen=True)
class Text(Good):
    needs: ClassVar[str] = "value"


@dataclass(frozen=True)
class List(Good):
    needs: ClassVar[list[str]] = ["value"]


@dataclass(frozen=True)
class Scheduled(Good):
    size: float = 0.1
    scheduled: ClassVar[frozenset[str]] = frozenset({"sizes"})


@dataclass(frozen=True)
class Claims(Good):
    claims: ClassVar[frozenset[str]] = frozenset({"zero_alone"})


@dataclass(frozen=True)
class NoDefault:
    size: int


def function(batch): ...
"""


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("Typo", "no batch has the column 'text_keys'"),
        ("Text", "needs is 'value', and must be a set of names"),
        ("List", "needs is ['value'], and must be a set of names"),
        ("Scheduled", "scheduled has 'sizes', which is none of its fields size"),
        ("Claims", "claims has 'zero_alone', which is none of "),
        ("NoDefault", "size has no default; paper is missing; needs is missing"),
        ("function", "must be a frozen dataclass"),
    ],
)
def test_a_method_that_does_not_declare_itself_is_refused(
    entry: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it is loaded, and with everything that is missing; not an hour later in a run."""
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "someones_declared.py").write_text(DECLARED)
    credit.register("someones", f"someones_declared:{entry}")
    with pytest.raises(ValueError, match=re.escape(message)):
        credit.load("someones")
    assert "\nsomeones: cannot be loaded, ValueError" in f"\n{listing()}"
    monkeypatch.delitem(sys.modules, "someones_declared")
