"""Settings of the update, the critic and the schedule."""

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from stepopsd_agent.config.limits import at_least

Attention = Literal["auto", "segments", "flex", "padded"]
"""How several rows go through the model at once; see `LearnerConfig.attention`."""
ShardingKind = Literal["none", "fsdp"]
"""What the processes of a run share; see `LearnerConfig.sharding`."""
Aggregation = Literal["token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "seq-mean-token-sum-norm"]
"""How token losses become one number; see `ops.losses.token_weights`."""


@dataclass
class LoraConfig:
    """A low-rank adapter (LoRA) trained instead of the model; needs the extra ``lora``.

    Attributes:
        rank: of the matrices; 0 trains the model itself.
        alpha: scale of the adapter, times 1 / rank; 0 takes the rank, a scale of 1.
        targets: names of the layers that get one, with commas between them, or "all-linear".
    """

    rank: int = at_least(0, 0)
    alpha: float = at_least(0, 0.0)
    targets: str = "all-linear"


@dataclass
class UpdateConfig:
    """The policy update: the keywords of `learner.Learner`.

    Attributes:
        lr: AdamW learning rate.
        muon_lr: Muon learning rate for the matrices of the layers; 0 leaves them to AdamW.
        weight_decay: weight decay of both.
        max_grad_norm: gradient clipping; inf switches it off.
        clip_low: PPO clip below 1; at 1 there is none, as ratios are positive.
        clip_high: PPO clip above 1.
        dual_clip: bound for negative advantages (c > 1).
        kl_coef: weight of the k3 KL to the initial policy; 0 switches the reference off.
        aggregation: how token losses become one number. Sequences (seq) are whole episodes, also where a row
            is a step.
        horizon: tokens, the constant that "seq-mean-token-sum-norm" divides an episode's sum by (Dr. GRPO).
        mini_batches: optimizer steps per batch; each learns from some of the episodes, drawn anew. Where
            episodes are fewer, so are the steps: update/mini_batches then tells how many.
        tokens_per_micro_batch: tokens per pass, in scoring and in the update; does not change the result.
            "auto" is 2048 on CPU, where larger passes are slower; on CUDA it begins with 8192 and grows as
            far as memory allows. Where memory runs out, it is halved and the update goes on.
        attention: how several rows go through the model at once. "segments" and "flex" pack them into one
            sequence without padding: an attention call per row, or one FlexAttention call (CUDA alone in
            training). "padded" pads rows of similar length, for models that take no attention function.
            "auto" is padded for these, and else segments on CPU and flex on CUDA.
        gradient_checkpointing: compute each layer again in the backward pass: about a third more time, far
            less memory.
    """

    lr: float = at_least(0, 1e-6)
    muon_lr: float = at_least(0, 0.0)
    weight_decay: float = at_least(0, 0.01)
    max_grad_norm: float = at_least(0, 1.0, infinite=True, above=True)
    clip_low: float = at_least(0, 0.2, most=1)
    clip_high: float = at_least(0, 0.2, infinite=True)
    dual_clip: float = at_least(1, 3.0, infinite=True, above=True)
    kl_coef: float = at_least(0, 0.01)
    aggregation: Aggregation = "token-mean"
    horizon: int = at_least(1, 4096)
    mini_batches: int = at_least(1, 1)
    tokens_per_micro_batch: int | Literal["auto"] = at_least(1, "auto")
    attention: Attention = "auto"
    gradient_checkpointing: bool = False


@dataclass
class LearnerConfig(UpdateConfig):
    """The policy update, and what a run does about it between updates.

    Attributes:
        lr_schedule: "constant", or "linear", which takes both rates towards zero at the end of the run.
        lr_warmup: updates over which the rates rise to their height.
        lora: adapter to train instead of the model.
        rescore_old: recompute the old log-probs instead of taking those recorded in sampling; always done
            where rollout.top_k or rollout.top_p cut, as recorded ones are of the cut distribution, and where
            rollout.backend is another engine's.
        mismatch: what the ratio of the learner's probability of a token to that of another engine's does:
            "truncate" multiplies the token's credit by it, bounded from above, "mask" likewise, but by 0
            where it is out of bounds, "none" nothing. The built-in decoder has no mismatch.
        mismatch_per: "token", or "step", where the ratio is the product over the step's tokens.
        mismatch_cap: the bound of "truncate".
        mismatch_low: the lower bound of "mask".
        mismatch_high: the upper bound of "mask".
        sharding: what the processes that torchrun or accelerate launch starts share: "none" the work alone,
            each with the whole model; "fsdp" the model too, with gradients and moments (FSDP2).
        cpu_offload: with sharding fsdp on GPUs: parts, gradients and moments stay in host memory, where the
            optimizer steps.
    """

    lr_schedule: Literal["constant", "linear"] = "constant"
    lr_warmup: int = at_least(0, 0)
    lora: LoraConfig = field(default_factory=LoraConfig)
    rescore_old: bool = False
    mismatch: Literal["none", "truncate", "mask"] = "truncate"
    mismatch_per: Literal["token", "step"] = "token"
    mismatch_cap: float = at_least(1, 2.0, infinite=True)
    mismatch_low: float = at_least(0, 0.5, most=1)
    mismatch_high: float = at_least(1, 5.0, infinite=True)
    sharding: ShardingKind = "none"
    cpu_offload: bool = False

    def of_update(self) -> dict[str, Any]:
        """The part that `learner.Learner` takes."""
        return {spec.name: getattr(self, spec.name) for spec in fields(UpdateConfig)}


@dataclass
class CriticConfig:
    """The critic, made only for a credit method that needs values.

    Attributes:
        lr: AdamW learning rate; above the policy's, as published.
        weight_decay: weight decay.
        max_grad_norm: gradient clipping; inf switches it off.
    """

    lr: float = at_least(0, 1e-5)
    weight_decay: float = at_least(0, 0.01)
    max_grad_norm: float = at_least(0, 1.0, infinite=True, above=True)


@dataclass
class ScheduleConfig:
    """How the scheduled fields of a credit method (lambda_mix) change over updates.

    Attributes:
        kind: "linear" decays to zero, "constant" stays.
        decay_updates: updates until zero.
    """

    kind: Literal["linear", "constant"] = "linear"
    decay_updates: int = at_least(1, 50)
