"""Weights beside the policy's own: a run keeps those it needs, in memory and in its checkpoints."""

import json
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from stepopsd_agent import credit
from stepopsd_agent.models import ModelFolderError, Policy
from stepopsd_agent.run import Trainer
from stepopsd_agent.run.trainer_state import restore_trainer, trainer_state, trainer_tensors
from tests.helpers.models import tiny
from tests.helpers.runs import run_config, taught

KEPT: dict[str, tuple[str, dict[str, Any], set[str]]] = {
    "grpo": ("grpo", {"learner": {"kl_coef": 0.0}}, set()),
    "grpo, stale": ("grpo", {"learner": {"kl_coef": 0.0}, "hindsight": {"teacher": "ema"}}, set()),
    "grpo with KL": ("grpo", {"learner": {"kl_coef": 0.01}}, {"initial"}),
    "gigpo": ("gigpo", {"learner": {"kl_coef": 0.0}, "hindsight": {"teacher": "initial"}}, set()),
    "stale": ("step_opsd", {"learner": {"kl_coef": 0.0}, "hindsight": {"refresh": 2}}, {"teacher"}),
    "stale with KL": ("step_opsd", {"learner": {"kl_coef": 0.1}}, {"teacher", "initial"}),
    "fresh": ("step_opsd", {"learner": {"kl_coef": 0.0}, "hindsight": {"refresh": 1}}, set()),
    "live": ("step_opsd", {"learner": {"kl_coef": 0.0}, "hindsight": {"teacher": "live"}}, set()),
    "initial": ("rlsd", {"learner": {"kl_coef": 0.0}, "hindsight": {"teacher": "initial"}}, {"initial"}),
    "average": ("sdpo", {"learner": {"kl_coef": 0.0}, "hindsight": {"teacher": "ema"}}, {"teacher"}),
    "adapter": ("grpo", {"learner": {"kl_coef": 0.0, "lora": {"rank": 2}}}, set()),
    "adapter with KL": ("grpo", {"learner": {"kl_coef": 0.1, "lora": {"rank": 2}}}, {"initial"}),
}
"""Method, settings, and which weights a checkpoint holds beside the policy's own."""


def trainer(case: str) -> Trainer:
    """A run of one of `KEPT` that has not begun."""
    if "adapter" in case:
        pytest.importorskip("peft", reason="the extra lora is not installed")
    method, settings, _ = KEPT[case]
    return Trainer(run_config(**settings), credit.make(method), taught())


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether weights are the same to the bit."""
    return first.keys() == second.keys() and all(torch.equal(w, second[name]) for name, w in first.items())


@pytest.mark.samples
@pytest.mark.parametrize("case", KEPT)
def test_kept_weights_are_those_that_the_run_needs(case: str) -> None:
    """Neither reference nor teacher where nothing reads them."""
    one = trainer(case)
    assert set(trainer_tensors(one)) & {"teacher", "initial"} == KEPT[case][2]
    assert (one.initial is not None, one.teacher is not None) == tuple(
        name in KEPT[case][2] for name in ("initial", "teacher")
    )


@pytest.mark.samples
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kept_weights_of_grpo_without_kl_are_weights_and_moments(dtype: torch.dtype) -> None:
    """Bytes a parameter: weights and two moments, and in half precision the full-precision copies."""
    policy = taught()
    torch.nn.Module.to(policy.model, dtype)  # transformers hides the types of its own `to`
    one = Trainer(run_config(learner={"kl_coef": 0.0}), credit.make("grpo"), policy)
    one.step()
    stored = sum(t.nbytes for group in trainer_tensors(one).values() for t in group.values())
    size = sum(p.numel() for p in policy.model.parameters())
    assert stored / size == pytest.approx(4 + 8 if dtype == torch.float32 else 2 + 4 + 8, rel=0.01)


@pytest.mark.samples
@pytest.mark.parametrize("case", ["grpo", "grpo with KL", "stale", "fresh", "live", "initial", "average"])
def test_kept_weights_are_enough_to_go_on_to_the_bit(case: str) -> None:
    """Three updates, and three with a restart after the first."""
    whole, begun, resumed = trainer(case), trainer(case), trainer(case)
    begun.step()
    state = json.loads(json.dumps(trainer_state(begun)))
    resumed.policy.load_state({name: 0 * weight for name, weight in resumed.policy.state().items()})
    restore_trainer(resumed, deepcopy(trainer_tensors(begun)), state)
    whole.step()
    for _ in range(2):
        assert whole.step()[:2] == resumed.step()[:2]
    assert same(whole.policy.state(), resumed.policy.state())


@pytest.mark.samples
def test_kept_weights_that_a_checkpoint_lacks_are_missed_by_name() -> None:
    """A run without a teacher cannot be continued by one that needs it; the other way round it can."""
    lean, full = trainer("grpo"), trainer("stale with KL")
    with pytest.raises(ValueError, match="it has no teacher weights"):
        restore_trainer(full, trainer_tensors(lean), trainer_state(lean))
    restore_trainer(lean, trainer_tensors(full), trainer_state(full))
    assert lean.teacher is None and lean.initial is None


@pytest.mark.samples
@pytest.mark.parametrize("case", ["live", "fresh", "grpo"])
def test_a_live_teacher_copies_no_weights(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither before the update nor to score."""
    one = trainer(case)
    for name in ("state", "load_state", "weights"):
        monkeypatch.setattr(Policy, name, lambda *_: pytest.fail("weights are copied"))
    for _ in range(2):
        one.step()


@pytest.mark.samples
def test_a_stale_teacher_is_copied_once_a_refresh_and_never_swapped_in_where_it_is_the_policy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With refresh 2: a copy before updates 0 and 2, other weights in 1 and 3."""
    one = trainer("stale")
    taken, swapped = list[int](), list[int]()

    def noting(name: str, where: list[int]) -> None:
        plain = getattr(Policy, name)

        def noted(*given: Any) -> Any:
            where.append(one.update)
            return plain(*given)

        monkeypatch.setattr(Policy, name, noted)

    noting("state", taken)
    noting("weights", swapped)
    for _ in range(4):
        one.step()
    assert taken == [0, 2] and set(swapped) <= {1, 3} and len(swapped) <= 2


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_other_weights_are_swapped_in_without_a_copy_of_the_current_ones(dtype: Any) -> None:
    """The current ones stay where they are, also after an error; others of a wider type are rounded."""
    policy = tiny(dtype)
    before = {name: p.data_ptr() for name, p in policy.model.named_parameters()}
    other = {name: 1.5 * weight.float() for name, weight in policy.state().items()}
    ids = torch.arange(1, 9)[None]
    select = torch.ones_like(ids, dtype=torch.bool)
    select[:, 0] = False
    first = policy.token_logprobs(ids, select)
    with pytest.raises(RuntimeError, match="on purpose"), policy.weights(other):
        second = policy.token_logprobs(ids, select)
        raise RuntimeError("on purpose")
    assert {name: p.data_ptr() for name, p in policy.model.named_parameters()} == before
    assert torch.equal(policy.token_logprobs(ids, select), first)
    policy.load_state(other)
    assert torch.equal(policy.token_logprobs(ids, select), second) and not torch.equal(first, second)


def test_other_weights_have_to_fit() -> None:
    """Names and shapes; the policy is as it was."""
    policy = tiny()
    state = policy.state()
    name = next(iter(state))
    for wrong in ({**state, "more": state[name]}, {**state, name: state[name][:-1]}):
        with pytest.raises(ModelFolderError, match="do not fit the model"), policy.weights(wrong):
            pytest.fail("swapped in")
        with pytest.raises(ModelFolderError, match="do not fit the model"):
            policy.load_state(wrong)
    assert same(policy.state(), state)


@pytest.mark.samples
@pytest.mark.parametrize("case", ["grpo", "adapter with KL", "stale"])
def test_no_gradient_is_left_after_an_update(case: str) -> None:
    """They would take as much memory as the weights while the next episodes are played."""
    one = trainer(case)
    one.step()
    assert [
        p for p in (*one.policy.model.parameters(), *one.learner.masters.trained) if p.grad is not None
    ] == []
