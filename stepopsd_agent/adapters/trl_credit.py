"""The credit of each token as advantages in the loss of TRL's `GRPOTrainer`.

The hook is `GRPOTrainer._generate_and_score_completions`, which TRL's own subclasses override: its rows are
still in the order of the rollouts, and what it returns TRL shuffles and splits together. Its `advantages` are
one number per row, and TRL's loss takes as well one per token, for the sake of subclasses. Everything else of
the update stays TRL's: old log-probabilities, clipping, KL term, optimizer.
"""

from typing import Any

import torch
from torch import Tensor, nn

from stepopsd_agent.adapters.trl_history import SaveHistory, file_name, restore_history
from stepopsd_agent.adapters.trl_rollouts import TRLRollouts

_SAMPLING: dict[str, Any] = {"top_k": 0, "top_p": 1.0, "min_p": None, "repetition_penalty": 1.0}
"""Fields of `GRPOConfig` that say how TRL would draw, with their defaults."""
_REPLACED: dict[str, tuple[Any, str]] = {
    "importance_sampling_level": (
        "token",
        "whose ratio is one for a whole row, so that every token would get the mean credit of its row: set "
        "it to 'token'",
    ),
    "scale_rewards": (
        "group",
        "but the credit method makes the advantages, whatever TRL does with the rewards: leave it out, and "
        "say it of the method, as in credit.make('grpo', std=False)",
    ),
    "generation_kwargs": (None, "which the rollouts do not read: say in their SamplingParams how they draw"),
    "chat_template_kwargs": (
        None,
        "which the rollouts do not read: leave it out, and give the tokenizer a template that does without",
    ),
}
"""Fields of `GRPOConfig` that would do nothing, or undo the credit: what they have to be, and what to do."""


class StepCredit:
    """Put before `GRPOTrainer` in the bases of a class; tested with TRL 1.16.

    ``class Trainer(StepCredit, GRPOTrainer)`` trains on the advantages of ``rollouts``, which plays the
    episodes. In evaluation the loss is TRL's own, of one advantage per row.
    """

    def __init__(self, *arguments: Any, rollouts: TRLRollouts, **named: Any) -> None:
        """Make the trainer.

        Args:
            arguments: those of `GRPOTrainer`.
            rollouts: plays the episodes; it is TRL's `rollout_func` and reward function.
            named: those of `GRPOTrainer`, without `rollout_func`; `reward_funcs` is best left out, since
                rewards beside an episode's return are logged, but do not change the advantages.

        Raises:
            ValueError: a setting of TRL's contradicts the rollouts.
        """
        if any(named.get(one) is not None for one in ("rollout_func", "environment_factory", "tools")):
            raise ValueError(
                "give rollouts alone: it takes the place of rollout_func, environment_factory and tools"
            )
        if getattr(named.get("args"), "use_vllm", False):  # before TRL has started or asked an engine
            raise ValueError(
                "use_vllm is True in GRPOConfig, but the rollouts draw with a backend of their own: "
                "set it to False"
            )
        named.setdefault("reward_funcs", rollouts.reward)
        super().__init__(*arguments, rollout_func=rollouts, **named)  # type: ignore[call-arg]
        self.rollouts = rollouts
        settings: Any = self.args  # type: ignore[attr-defined]
        if settings.temperature != rollouts.params.temperature:
            raise ValueError(
                f"GRPOConfig has temperature {settings.temperature}, the rollouts "
                f"{rollouts.params.temperature}: give both the same, since TRL's loss divides by its own"
            )
        for name, usual in _SAMPLING.items():
            if (value := getattr(settings, name)) not in (usual, getattr(rollouts.params, name, usual)):
                raise ValueError(
                    f"GRPOConfig has {name} {value}, which the rollouts do not read: leave it out, and say "
                    "in their SamplingParams how they draw"
                )
        for name, (usual, instead) in _REPLACED.items():
            if (value := getattr(settings, name) or None) != usual:
                raise ValueError(f"GRPOConfig has {name} {value!r}, {instead}")
        if settings.mask_truncated_completions:
            raise ValueError(
                "mask_truncated_completions would leave out every episode that does not end in an end token: "
                "set it to False"
            )
        _refuse_padding(self)
        if (history := rollouts.crediting.history) is not None:
            accelerator = self.accelerator  # type: ignore[attr-defined]
            self._file = file_name(accelerator.process_index, accelerator.num_processes)
            self.add_callback(SaveHistory(history, self._file))  # type: ignore[attr-defined]

    def train(self, resume_from_checkpoint: str | bool | None = None, *arguments: Any, **named: Any) -> Any:
        """Train, as `GRPOTrainer.train`; a checkpoint's history of tasks goes on with it.

        Raises:
            ValueError: the credit method reads a history, and the checkpoint has none.
        """
        history = self.rollouts.crediting.history
        if resume_from_checkpoint and history is not None:
            out = str(self.args.output_dir)  # type: ignore[attr-defined]
            restore_history(history, resume_from_checkpoint, out, self._file)
        return super().train(resume_from_checkpoint, *arguments, **named)  # type: ignore[misc]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """The rows of TRL, with an advantage per token while it trains; TRL has not shuffled them yet."""
        rows: dict[str, Any] = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        if self.model.training:  # type: ignore[attr-defined]
            rows["advantages"] = self.rollouts.advantages(rows)
        return rows

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Tensor:
        """TRL's loss, which is refused rows whose tokens have no advantage of their own.

        Raises:
            RuntimeError: this version of TRL makes its rows in another way.
        """
        if model.training and inputs["advantages"].dim() != 2:
            raise RuntimeError(
                "TRL's loss got one advantage per row, so this version of TRL makes its rows in another way: "
                "install trl==1.16.0, with which StepCredit was tested"
            )
        loss: Tensor = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)  # type: ignore[misc]
        return loss


def _refuse_padding(trainer: Any) -> None:
    """Refuse a model that reads a row otherwise behind padding: TRL pads prompts, and gives no positions.

    So do GPT-2 and others with learned positions. One row of eight tokens is read with padding and without.

    Raises:
        ValueError: its log-probabilities differ.
    """
    if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        return  # refused by the rollouts
    model, padding = trainer.model, 5
    size = int(model.get_input_embeddings().weight.shape[0])
    ids = (torch.arange(1, 9, device=model.device) * 7)[None] % size
    padded = torch.nn.functional.pad(ids, (padding, 0), value=int(trainer.processing_class.pad_token_id or 0))
    real = torch.nn.functional.pad(torch.ones_like(ids), (padding, 0))
    training = model.training
    model.eval()
    with torch.no_grad():
        alone, behind = (
            model(input_ids=row, attention_mask=mask).logits[:, -8:].float().log_softmax(-1)
            for row, mask in ((ids, torch.ones_like(ids)), (padded, real))
        )
    model.train(training)
    if (off := float((alone - behind).abs().max())) > (0.01 if model.dtype == torch.float32 else 0.5):
        raise ValueError(
            f"{type(model).__name__} reads a row otherwise behind padding, up to {off:.2g} nats, and TRL "
            "pads prompts without giving positions: choose a model with rotary ones, such as Qwen3 or Llama"
        )
