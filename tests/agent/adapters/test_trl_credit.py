"""TRL's own trainer learns with the adapters: two updates, and the advantages that reach its loss."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stepopsd_agent import credit
from stepopsd_agent.adapters import Crediting, StepCredit, TRLRollouts
from stepopsd_agent.batch import collate
from stepopsd_agent.config import EnvConfig
from stepopsd_agent.learner import fill
from stepopsd_agent.models import Policy, load_policy
from stepopsd_agent.rollout import Attempt, SamplingParams, rollout
from stepopsd_wrappers import Episode
from tests.helpers.command_line import run
from tests.helpers.runs import PARAMS, draw_until, run_config, taught
from tests.helpers.search_qa_runs import search_flags, search_run_config

trl = pytest.importorskip("trl", reason="the extra trl is not installed")
datasets = pytest.importorskip("datasets", reason="the extra trl is not installed")

pytestmark = pytest.mark.samples
GROUPS, SIZE = 2, 4
Row = tuple[tuple[int, ...], tuple[int, ...], Tensor]
GRPOTrainer: Any = trl.GRPOTrainer


@dataclass
class Watched:
    """What a training did: the model before each update, its episodes, and the inputs of TRL's loss."""

    played: list[tuple[Policy, list[Episode]]] = field(default_factory=list)
    inputs: list[list[dict[str, Tensor]]] = field(default_factory=list)

    def backend(
        self, policy: Policy, envs: Sequence[Any], attempts: Sequence[Attempt], *arguments: Any, **named: Any
    ) -> list[Episode]:
        """`rollout`, and a copy of the model that played."""
        episodes = rollout(policy, envs, attempts, *arguments, **named)
        same = Policy(copy.deepcopy(policy.model), policy.tokenizer, "cpu", policy.prompt_format)
        self.played.append((same, episodes))
        self.inputs.append([])
        return episodes


class Trainer(StepCredit, GRPOTrainer):  # type: ignore[misc]
    """As users write it, with a look at what reaches the loss."""

    watched: Watched

    def _compute_loss(self, model: Any, inputs: dict[str, Tensor]) -> Any:
        self.watched.inputs[-1].append({name: value.clone() for name, value in inputs.items()})
        return super()._compute_loss(model, inputs)


def grpo_config(out: Path, **settings: Any) -> Any:
    """Two updates of two groups on the CPU, each in two passes."""
    given: dict[str, Any] = {
        "per_device_train_batch_size": GROUPS * SIZE // 2, "gradient_accumulation_steps": 2,
        "num_generations": SIZE, "max_steps": 2, "learning_rate": 1e-3, "lr_scheduler_type": "constant",
        "temperature": 1.0, "bf16": False, "use_cpu": True, "gradient_checkpointing": False,
        "logging_strategy": "no", "save_strategy": "no", "report_to": "none", "disable_tqdm": True,
    }  # fmt: skip
    return trl.GRPOConfig(output_dir=str(out), **{**given, **settings})


def trained(
    policy: Policy, env: EnvConfig, params: SamplingParams, method: str, seed: int, out: Path, **settings: Any
) -> tuple[Watched, Any]:
    """What TRL did in its updates, and the trainer."""
    watched = Watched()
    rollouts = TRLRollouts(env, Crediting(method), params, slots=8, seed=seed, backend=watched.backend)
    rows = (rollouts.rows() * GROUPS)[:GROUPS]
    Trainer.watched = watched
    trainer = Trainer(
        rollouts=rollouts,
        model=policy.model,
        processing_class=policy.tokenizer,
        args=grpo_config(out, **settings),
        train_dataset=datasets.Dataset.from_list(rows),
    )
    trainer.train()
    return watched, trainer


def given_to_loss(inputs: Sequence[dict[str, Tensor]]) -> list[Row]:
    """Every row that reached the loss: its ids, its mask of sampled tokens, and its advantages."""
    rows = []
    for batch in inputs:
        assert batch["advantages"].shape == batch["completion_ids"].shape
        for k in range(len(batch["completion_ids"])):
            prompt = batch["prompt_ids"][k][batch["prompt_mask"][k].bool()]
            kept = batch["completion_mask"][k].bool()
            mask = (batch["tool_mask"][k] * batch["completion_mask"][k])[kept]
            ids = tuple([*prompt.tolist(), *batch["completion_ids"][k][kept].tolist()])
            assert not batch["advantages"][k][~kept].any()
            rows.append((ids, tuple(mask.tolist()), batch["advantages"][k][kept]))
    return rows


def expected(policy: Policy, episodes: Sequence[Episode], method: str) -> list[Row]:
    """The same rows by this project's own functions."""
    way = credit.make(method)
    batch = fill(collate(episodes), episodes, way.needs, policy)
    advantages = way(batch).advantages
    rows = []
    for n in range(batch.num_rows):
        length = int(batch.tokens.attention_mask[n].sum())
        start = int(batch.action_mask[n].int().argmax())
        ids = tuple(batch.tokens.input_ids[n, :length].tolist())
        mask = tuple(batch.action_mask[n, start:length].int().tolist())
        rows.append((ids, mask, advantages[n, start:length]))
    return rows


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Sorted by ids, then by advantages: TRL shuffles."""
    return sorted(rows, key=lambda row: (row[0], row[1], row[2].tolist()))


def check_updates(watched: Watched, method: str, tolerance: float = 0.0) -> None:
    """Both updates learned from the advantages of this project's credit, token for token."""
    assert len(watched.played) == 2
    for (policy, episodes), inputs in zip(watched.played, watched.inputs, strict=True):
        got, want = in_order(given_to_loss(inputs)), in_order(expected(policy, episodes, method))
        assert len(got) == GROUPS * SIZE
        for (ids, mask, advantages), (own_ids, own_mask, own) in zip(got, want, strict=True):
            assert ids == own_ids and mask == own_mask
            assert torch.allclose(advantages, own, rtol=0, atol=tolerance)
    before, after = (policy.model.state_dict() for policy, _ in watched.played)
    assert any(not torch.equal(before[name], after[name]) for name in before)


def differs(drawn: tuple[Watched, Any]) -> bool:
    """Whether both updates had something to learn from."""
    return all(any(one["advantages"].any() for one in inputs) for inputs in drawn[0].inputs)


@pytest.mark.parametrize("method", ["grpo", "step_opsd", "path_gain"])
def test_trl_trains_on_the_credit_of_games(method: str, tmp_path: Path) -> None:
    """The advantages in TRL's loss are the method's own on the same episodes."""
    config = run_config()

    def draw(seed: int) -> tuple[Watched, Any]:
        return trained(taught(), config.env, PARAMS, method, seed, tmp_path / str(seed))

    watched, trainer = draw_until(draw, differs, most=5)
    check_updates(watched, method, tolerance=1e-6 if method == "step_opsd" else 0.0)
    last = watched.played[-1][0].model.state_dict()
    assert any(not torch.equal(last[name], value) for name, value in trainer.model.state_dict().items())
    assert all(value.isfinite().all() for value in trainer.model.state_dict().values())


@pytest.fixture(scope="module")
def searcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers its one question rightly now and then."""
    out = tmp_path_factory.mktemp("searcher") / "model"
    taught_so_far = ["--env.num_questions=1", "--warmstart.demonstrations=180", "--warmstart.passes=1"]
    assert run("warmstart", *search_flags(), *taught_so_far, f"--out={out}") == 0
    return out


def test_trl_trains_on_the_credit_of_questions(searcher: Path, tmp_path: Path) -> None:
    """Search-QA by the same class."""
    config = search_run_config(env={"num_questions": 1})
    params = SamplingParams(max_tokens=40, max_row_tokens=768)

    def draw(seed: int) -> tuple[Watched, Any]:
        return trained(load_policy(searcher), config.env, params, "gigpo", seed, tmp_path / str(seed))

    check_updates(draw_until(draw, differs, most=20)[0], "gigpo")


def test_trl_takes_the_rows_of_one_rollout_several_times(tmp_path: Path) -> None:
    """With two iterations each row reaches the loss twice with the same advantages."""
    config = run_config()

    def draw(seed: int) -> tuple[Watched, Any]:
        how = {"num_iterations": 2, "max_steps": 4}
        return trained(taught(), config.env, PARAMS, "grpo", seed, tmp_path / str(seed), **how)

    watched, _ = draw_until(draw, differs, most=5)
    for (policy, episodes), inputs in zip(watched.played, watched.inputs, strict=True):
        got = in_order(given_to_loss(inputs))
        want = in_order(expected(policy, episodes, "grpo") * 2)
        assert [row[:2] for row in got] == [row[:2] for row in want]
        assert all(torch.equal(one[2], other[2]) for one, other in zip(got, want, strict=True))


def test_trl_evaluates_without_losing_the_credit(tmp_path: Path) -> None:
    """Evaluation between updates has TRL's own loss, and leaves the rows of training as they were."""
    config = run_config()
    rollouts = TRLRollouts(config.env, Crediting("grpo"), PARAMS, slots=8)
    rows = datasets.Dataset.from_list(rollouts.rows() * GROUPS)
    Trainer.watched = Watched(inputs=[[]])
    how: dict[str, Any] = {"eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": SIZE}
    policy = taught()
    trainer = Trainer(
        rollouts=rollouts, model=policy.model, processing_class=policy.tokenizer, train_dataset=rows,
        eval_dataset=rows, args=grpo_config(tmp_path, **how),
    )  # fmt: skip
    trainer.train()
    found = [entry for entry in trainer.state.log_history if "eval_reward" in entry]
    assert len(found) == 2 and all(0 <= entry["eval_reward"] <= 1 for entry in found)
    shapes = {batch["advantages"].dim() for batch in Trainer.watched.inputs[0]}
    assert shapes == {1, 2} and not trainer.model.training


def test_trl_trains_an_adapter_on_the_credit(tmp_path: Path) -> None:
    """With PEFT around the model the rollout plays and scores with the adapter, which alone is trained."""
    peft = pytest.importorskip("peft", reason="the extra lora is not installed")
    config = run_config()

    def draw(seed: int) -> tuple[Watched, Any]:
        policy, watched = taught(), Watched()
        rollouts = TRLRollouts(
            config.env, Crediting("step_opsd"), PARAMS, slots=8, seed=seed, backend=watched.backend
        )
        Trainer.watched = watched
        trainer = Trainer(
            rollouts=rollouts, model=policy.model, processing_class=policy.tokenizer,
            args=grpo_config(tmp_path / str(seed)),
            peft_config=peft.LoraConfig(r=4, target_modules="all-linear"),
            train_dataset=datasets.Dataset.from_list((rollouts.rows() * GROUPS)[:GROUPS]),
        )  # fmt: skip
        trainer.train()
        return watched, trainer

    watched, trainer = draw_until(draw, differs, most=5)
    check_updates(watched, "step_opsd", tolerance=1e-6)
    before, after = (policy.model.state_dict() for policy, _ in watched.played)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and all("lora_" in name for name in moved)
    assert trainer.model.training


def test_trl_adds_its_kl_term_and_leaves_the_credit(tmp_path: Path) -> None:
    """`beta` is TRL's: its reference is the model that the policy was loaded from."""
    taught().save(tmp_path / "model")
    config = run_config()

    def draw(seed: int) -> tuple[Watched, Any]:
        policy, out = load_policy(tmp_path / "model"), tmp_path / str(seed)
        return trained(policy, config.env, PARAMS, "path_gain", seed, out, beta=0.5)

    watched, trainer = draw_until(draw, differs, most=5)
    check_updates(watched, "path_gain")
    reference = trainer.ref_model.state_dict()
    first = watched.played[0][0].model.state_dict()
    assert all(torch.equal(reference[name], value) for name, value in first.items())
    assert trainer.state.log_history[-1]["kl"] > 1e-6  # of the second update: the first is by the reference


def test_trl_settings_that_contradict_the_rollouts_are_refused(tmp_path: Path) -> None:
    """What would draw otherwise, do nothing, or take the credit of a token away."""
    policy, rollouts = taught(), TRLRollouts(run_config().env, Crediting("grpo"), PARAMS)
    rows = datasets.Dataset.from_list(rollouts.rows() * GROUPS)
    for wrong, words in (
        ({"temperature": 0.7}, r"GRPOConfig has temperature 0.7, the rollouts 1.0: give both the same"),
        ({"top_p": 0.9}, r"GRPOConfig has top_p 0.9, which the rollouts do not read: .* SamplingParams"),
        ({"repetition_penalty": 1.1}, r"GRPOConfig has repetition_penalty 1.1, which the rollouts do not"),
        ({"importance_sampling_level": "sequence"}, r"level 'sequence', whose ratio is one for a whole row"),
        ({"scale_rewards": "none"}, r"scale_rewards 'none', but the credit method .* credit.make\("),
        (
            {"generation_kwargs": {"num_beams": 2}},
            r"generation_kwargs \{'num_beams': 2\}, which the rollouts",
        ),
        ({"chat_template_kwargs": {"enable_thinking": True}}, r"chat_template_kwargs .*, which the rollouts"),
        ({"mask_truncated_completions": True}, "mask_truncated_completions would leave out every episode"),
    ):
        args = grpo_config(tmp_path, **wrong)
        with pytest.raises(ValueError, match=words):
            Trainer(
                rollouts=rollouts, model=policy.model, processing_class=policy.tokenizer, train_dataset=rows,
                args=args,
            )  # fmt: skip
    with pytest.raises(ValueError, match=r"takes the place of rollout_func, environment_factory and tools"):
        Trainer(rollouts=rollouts, model=policy.model, train_dataset=rows, tools=[print])


def test_trl_that_makes_its_rows_otherwise_is_refused(tmp_path: Path) -> None:
    """A loss with one advantage per row would train on TRL's own, in silence."""
    policy, rollouts = taught(), TRLRollouts(run_config().env, Crediting("grpo"), PARAMS)
    rows = datasets.Dataset.from_list(rollouts.rows() * GROUPS)
    trainer = Trainer(
        rollouts=rollouts, model=policy.model, processing_class=policy.tokenizer, train_dataset=rows,
        args=grpo_config(tmp_path),
    )  # fmt: skip
    trainer.model.train(True)
    with pytest.raises(RuntimeError, match=r"one advantage per row.*install trl==1\.16\.0"):
        trainer.compute_loss(trainer.model, {"advantages": torch.zeros(4)})
