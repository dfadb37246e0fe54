"""What the rollouts for TRL refuse, and what they give for episodes that failed; TRL itself is not needed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from stepopsd_agent.adapters import Crediting, StepCredit, TRLRollouts
from stepopsd_agent.credit import MissingColumnError
from stepopsd_agent.models import Policy
from stepopsd_agent.rollout import Attempt, rollout
from stepopsd_wrappers import Episode
from tests.helpers.runs import PARAMS, run_config, taught


@dataclass
class _Whole:
    """What the rollouts ask of a trainer that has its model whole."""

    policy: Policy
    num_generations: int = 4
    num_generations_eval: int = 4
    is_deepspeed_enabled: bool = False
    is_fsdp_enabled: bool = False
    process_index: int = 0
    device: str = "cpu"
    global_step: int = 0
    args: Any = None

    model: Any = field(init=False)

    def __post_init__(self) -> None:
        self.model, self.processing_class = self.policy.model, self.policy.tokenizer
        self.accelerator = self.state = self
        self.model.train(True)

    def unwrap_model(self, model: Any) -> Any:
        """The model itself."""
        return model


def rollouts(method: str = "grpo", **settings: Any) -> TRLRollouts:
    """Of the one game."""
    return TRLRollouts(run_config().env, Crediting(method), PARAMS, slots=8, **settings)


@pytest.mark.samples
def test_trl_rollouts_refuse_prompts_that_are_no_tasks_or_no_groups() -> None:
    """And say what the data set has to be."""
    made, trainer = rollouts(), _Whole(taught())
    (row,) = made.rows()
    with pytest.raises(ValueError, match=r"the prompt 'sweep' is no task of stepopsd/ALFWorld-v0.*rows\(\)"):
        made(["sweep"] * 4, trainer)
    with pytest.raises(ValueError, match=r"6 prompts do not make whole groups of 4.*multiple of num_gen"):
        made([row["prompt"]] * 6, trainer)
    with pytest.raises(ValueError, match=r"split the model over processes"):
        made([row["prompt"]] * 4, replace(trainer, is_fsdp_enabled=True))


def test_trl_rollouts_refuse_settings_that_trl_has_no_place_for() -> None:
    """Rows of single steps, a loss beside the advantages, a critic, a reference."""
    config = run_config(env={"layout": "window"})
    with pytest.raises(ValueError, match=r"env.layout is 'window'.*'transcript'"):
        TRLRollouts(config.env, Crediting("grpo"), PARAMS)
    with pytest.raises(ValueError, match="slots is 0"):
        TRLRollouts(run_config().env, Crediting("grpo"), PARAMS, slots=0)
    with pytest.raises(ValueError, match=r"TurnGAE needs value, and so a critic.*another method"):
        Crediting("turn_gae")
    with pytest.raises(ValueError, match=r"no credit method 'gropo'"):
        Crediting("gropo")
    with pytest.raises(ValueError, match="decay_updates is 0"):
        Crediting("step_opsd", decay_updates=0)
    with pytest.raises(ValueError, match="give rollouts alone"):
        StepCredit(rollouts=rollouts(), rollout_func=print)
    with pytest.raises(ValueError, match=r"use_vllm is True.*set it to False"):
        StepCredit(rollouts=rollouts(), args=SimpleNamespace(use_vllm=True))


@pytest.mark.samples
def test_trl_rollouts_name_what_a_method_lacks() -> None:
    """When its credit is to be computed."""
    trainer = _Whole(taught())
    made = rollouts("sdpo")
    with pytest.raises(ValueError, match=r"SDPO has a loss beside its advantages \(.+\)"):
        made([row["prompt"] for row in made.rows()] * 4, trainer)
    made = rollouts("oracle")
    with pytest.raises(MissingColumnError, match=r"optimal_distance.*env.oracle"):
        made([row["prompt"] for row in made.rows()] * 4, trainer)
    assert trainer.model.training  # as it was lent


@pytest.mark.samples
def test_trl_rollouts_play_fresh_attempts_as_they_play_the_episodes() -> None:
    """Same sampling, same backend and noise of the step; not the defaults, which are another policy's."""
    asked = list[tuple[int, Any, dict[str, Any]]]()

    def watched(
        policy: Policy, envs: Sequence[Any], attempts: Sequence[Attempt], params: Any = None, **named: Any
    ) -> list[Episode]:
        asked.append((len(attempts), params, named))
        return rollout(policy, envs, attempts, params, **named)

    cut = replace(PARAMS, temperature=0.8, max_tokens=10)
    made = TRLRollouts(
        run_config().env, Crediting("vine"), cut, slots=8, backend=watched, mc_rollouts=1, seed=5
    )
    trainer = _Whole(taught(), global_step=3)
    made([made.rows()[0]["prompt"]] * 4, trainer)
    assert len(asked) >= 2 and all(params == cut for _, params, _ in asked)
    assert [named["seed"] for _, _, named in asked][:2] == ["5/3", "5/3/branches"]
    steps = sum(episode.num_steps for episode in made.episodes)
    assert 1 <= asked[1][0] <= steps  # one for each state
    with pytest.raises(ValueError, match=r"Vine\w* needs mc_value.*give fresh"):
        Crediting("vine")(taught(), made.episodes)


@pytest.mark.samples
def test_trl_rollouts_of_one_optimizer_step_are_different_attempts() -> None:
    """TRL asks several times in a step where steps_per_generation is below gradient_accumulation_steps."""
    seeds = list[Any]()

    def watched(*arguments: Any, **named: Any) -> list[Episode]:
        seeds.append(named["seed"])
        return rollout(*arguments, **named)

    trainer, made = _Whole(taught()), rollouts(backend=watched)
    for step in (0, 0, 1, 1, 2):
        made([made.rows()[0]["prompt"]] * 4, replace(trainer, global_step=step))
    assert len(set(seeds)) == 5
    rollouts(backend=watched)([made.rows()[0]["prompt"]] * 4, replace(trainer, global_step=2))
    assert seeds[-1] == seeds[-2]  # as after TRL has continued from a checkpoint


def _failing(
    policy: Policy, envs: Sequence[Any], attempts: Sequence[Attempt], *arguments: Any, **named: Any
) -> list[Episode]:
    """`rollout`, in which the environment fails in two attempts: in the first as it begins."""
    played = rollout(policy, envs, attempts, *arguments, **named)
    none = replace(played[0].steps[0], error="OSError: gone", info={})
    last = replace(played[1].steps[-1], error="OSError: gone")
    played[0] = replace(played[0], steps=(none,))
    played[1] = replace(played[1], steps=(*played[1].steps[:-1], last))
    return played


@pytest.mark.samples
def test_trl_rollouts_give_groups_with_an_error_no_credit() -> None:
    """No row of them has a token to learn from, failed episodes no reward; other groups are as ever."""
    trainer = _Whole(taught())
    made, sound = rollouts(backend=_failing), rollouts()
    task = made.rows()[0]["prompt"]
    found, same = made([task] * 8, trainer), sound([task] * 8, trainer)
    assert found["episode_return"][:2] == [None, None] and not any(map(any, found["env_mask"][:4]))
    for column in found:
        first = 4 if column == "env_mask" else 2
        assert found[column][first:] == same[column][first:]
    names = ("prompt_ids", "completion_ids", "env_mask", "logprobs")
    assert all(len(found[name][0]) == 1 for name in names)
    credits = [_advantages(made, found), _advantages(sound, same)]
    assert not credits[0][:4].any() and torch.equal(credits[0][4:], credits[1][4:])
    with pytest.raises(RuntimeError, match=r"every group has an attempt that failed.*OSError: gone"):
        made([task] * 4, trainer)


def _failing_alike(
    policy: Policy, envs: Sequence[Any], attempts: Sequence[Attempt], *arguments: Any, **named: Any
) -> list[Episode]:
    """A group with different returns, and the same once more, in which the environment fails at the end."""
    played = rollout(policy, envs, attempts[:4], *arguments, **named)
    paid = [
        replace(episode, steps=(*episode.steps[:-1], replace(episode.steps[-1], reward=float(k))))
        for k, episode in enumerate(played)
    ]
    last = replace(paid[3].steps[-1], error="OSError: gone")
    failed = replace(paid[3], steps=(*paid[3].steps[:-1], last))
    return [*paid, *(replace(episode, group=1) for episode in (*paid[:3], failed))]


@pytest.mark.samples
def test_trl_rollouts_tell_a_row_from_a_failed_one_with_the_same_ids() -> None:
    """By their mask: masked tokens would else take the credit, and it be lost. Another order is refused."""
    made = rollouts(backend=_failing_alike)
    found = made([made.rows()[0]["prompt"]] * 8, _Whole(taught()))
    assert found["completion_ids"][3] == found["completion_ids"][7]
    given = _advantages(made, found)
    assert given[:4].any() and not given[4:].any() and not any(map(any, found["env_mask"][4:]))
    swapped = {name: [*column[:3], column[7], *column[4:7], column[3]] for name, column in found.items()}
    with pytest.raises(LookupError, match=r"row 3 of \d+ and \d+ tokens was not played .* in this place"):
        _advantages(made, swapped)


def _advantages(made: TRLRollouts, columns: dict[str, Any]) -> torch.Tensor:
    """Of all rows, padded as TRL pads them, on the right to one width."""
    inputs = {}
    for side in ("prompt", "completion"):
        inputs[f"{side}_ids"] = _padded(columns[f"{side}_ids"], 0)
        inputs[f"{side}_mask"] = _padded([[1] * len(row) for row in columns[f"{side}_ids"]], 0)
    return made.advantages({**inputs, "tool_mask": _padded(columns["env_mask"], 1)})


def _padded(rows: Sequence[list[int]], value: int, width: int = 600) -> torch.Tensor:
    return torch.tensor([row + [value] * (width - len(row)) for row in rows])


@pytest.mark.samples
def test_trl_rollouts_know_their_rows_alone() -> None:
    """A row that was not played here is refused."""
    trainer, made = _Whole(taught()), rollouts()
    found = made([made.rows()[0]["prompt"]] * 4, trainer)
    found["completion_ids"][0] = found["completion_ids"][0][:-1]
    with pytest.raises(LookupError, match=r"was not played by this rollout_func"):
        _advantages(made, found)
    fewer = {name: column[1:] for name, column in found.items()}
    with pytest.raises(LookupError, match=r"3 rows, of 4 that this rollout_func played"):
        _advantages(made, fewer)
