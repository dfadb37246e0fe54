"""Everything a run can be told, as dataclasses; command line and YAML files are made from these fields."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from stepopsd_agent.env_config import EnvConfig, EvalConfig

__all__ = [
    "EnvConfig",
    "EvalConfig",
    "HindsightConfig",
    "LearnerConfig",
    "ModelConfig",
    "RolloutConfig",
    "RunConfig",
    "ScheduleConfig",
    "WarmstartConfig",
    "config_from_dict",
    "config_to_dict",
]


@dataclass
class ModelConfig:
    """The language model.

    Attributes:
        path: model folder or hub name; "tiny" makes a fresh Qwen3-shaped model (warmstart only).
        gguf_file: name of a GGUF file inside ``path``.
        dtype: "auto" is float32 on CPU and bfloat16 on CUDA.
        chat: use the chat template: "auto" when the tokenizer has one.
        system: system message for chat models; when absent one that names the environment's kind of answer.
        enable_thinking: passed to templates that know it (Qwen3).
        hidden_size: width of a tiny model.
        num_layers: depth of a tiny model.
        num_heads: attention heads of a tiny model.
        head_dim: width of a tiny model's heads. Keys and queries are normalised, so their products stay below
            its root: narrow heads cannot look at one word among hundreds.
        vocab_size: tokens of a tiny model's own tokenizer.
        max_positions: longest row of a tiny model, in tokens.
    """

    path: str = "tiny"
    gguf_file: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float64"] = "auto"
    chat: Literal["auto", "on", "off"] = "auto"
    system: str | None = None
    enable_thinking: bool = False
    hidden_size: int = 128
    num_layers: int = 4
    num_heads: int = 4
    head_dim: int = 64
    vocab_size: int = 1024
    max_positions: int = 4096


@dataclass
class RolloutConfig:
    """How episodes are collected.

    Attributes:
        tasks: different games per update (groups).
        group_size: attempts per game.
        slots: episodes played at once; a finished episode's slot takes the next task.
        temperature: sampling temperature in training.
        max_tokens: longest response, in tokens.
        max_row_tokens: an episode whose row would grow beyond this is truncated.
        invalid_penalty: taken off the return for every command that is not admissible; a success pays 1.
    """

    tasks: int = 16
    group_size: int = 8
    slots: int = 64
    temperature: float = 1.0
    max_tokens: int = 16
    max_row_tokens: int = 4096
    invalid_penalty: float = 0.0


@dataclass
class HindsightConfig:
    """What the teacher is told, and where.

    Attributes:
        mode: nothing, how the episode ended, a successful peer of the same group, or both.
        position: "inline" right before each step's tokens (the paper's), "prefix" right after the first
            prompt.
        peer: show the peer's commands with the answers to them, or the commands alone.
        max_peer_tokens: a longer peer loses its middle.
        teacher: "stale" weights (refreshed), "live" (current) or "initial".
        refresh: updates between two refreshes of the stale teacher.
    """

    mode: Literal["none", "correctness", "peer", "correctness+peer"] = "correctness+peer"
    position: Literal["inline", "prefix"] = "inline"
    peer: Literal["transcript", "commands"] = "transcript"
    max_peer_tokens: int = 512
    teacher: Literal["stale", "live", "initial"] = "stale"
    refresh: int = 10


@dataclass
class LearnerConfig:
    """The policy update.

    Attributes:
        lr: AdamW learning rate.
        muon_lr: Muon learning rate for the matrices of the layers; 0 leaves them to AdamW.
        weight_decay: weight decay of both.
        max_grad_norm: gradient clipping.
        clip_low: PPO clip below 1.
        clip_high: PPO clip above 1.
        dual_clip: bound for negative advantages (c > 1).
        kl_coef: weight of the k3 KL to the initial policy; 0 switches the reference off.
        aggregation: how token losses become one number.
        mini_batches: optimizer steps per batch of episodes.
        tokens_per_micro_batch: padded tokens per forward and backward pass; does not change the result.
        rescore_old: recompute the old log-probs instead of taking those recorded in sampling.
    """

    lr: float = 1e-6
    muon_lr: float = 0.0
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    clip_low: float = 0.2
    clip_high: float = 0.2
    dual_clip: float = 3.0
    kl_coef: float = 0.01
    aggregation: Literal[
        "token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "seq-mean-token-sum-norm"
    ] = "token-mean"
    mini_batches: int = 1
    tokens_per_micro_batch: int = 16384
    rescore_old: bool = False


@dataclass
class ScheduleConfig:
    """How the scheduled fields of a credit method (lambda_mix) change over updates.

    Attributes:
        kind: "linear" decays to zero, "constant" stays.
        decay_updates: updates until zero.
    """

    kind: Literal["linear", "constant"] = "linear"
    decay_updates: int = 50


@dataclass
class WarmstartConfig:
    """Behaviour cloning from an exploring expert.

    Attributes:
        demonstrations: expert episodes to clone.
        passes: passes over them.
        batch_rows: rows per optimizer step.
        lr: peak learning rate of AdamW (linear warm-up, cosine decay).
        muon_lr: peak learning rate of Muon on the weight matrices; 0 gives them to AdamW, too. A fresh model
            learns to copy
            names several times sooner with Muon; a pretrained one is better left to AdamW.
        mistake_rate: share of the expert's commands replaced by a mistake that it then mends.
        mistake_passes: the last of the passes imitate the mistakes as well, as one does who cannot tell them
            from the rest; behind a hindsight block they are never imitated.
        hindsight_steps: steps per demonstration also shown behind an inline hindsight block.
        hindsight_share: share of the games also shown played by an expert that read a peer, behind a prefix
            block.
        observation_weight: weight of the loss on the environment's own words; they teach a fresh model to
            read.
    """

    demonstrations: int = 2000
    passes: int = 1
    batch_rows: int = 8
    lr: float = 2e-3
    muon_lr: float = 0.0
    mistake_rate: float = 0.1
    mistake_passes: int = 0
    hindsight_steps: int = 2
    hindsight_share: float = 0.25
    observation_weight: float = 0.3


@dataclass
class RunConfig:
    """One run, whole; the same file serves every command.

    Attributes:
        seed: everything random follows from it.
        updates: policy updates of a training run.
        device: "cpu", "cuda" or "cuda:N".
        threads: CPU threads of PyTorch; 0 leaves its default. Equal results need equal threads.
        checkpoint_every: updates between two checkpoints.
        env: the games.
        model: the language model.
        rollout: how episodes are collected.
        hindsight: what the teacher is told.
        schedule: how scheduled fields of the credit method change.
        learner: the update.
        eval: evaluation on held-out games.
        warmstart: behaviour cloning (``stepopsd warmstart``).
    """

    seed: int = 0
    updates: int = 150
    device: str = "cpu"
    threads: int = 0
    checkpoint_every: int = 5
    env: EnvConfig = field(default_factory=EnvConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    hindsight: HindsightConfig = field(default_factory=HindsightConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    warmstart: WarmstartConfig = field(default_factory=WarmstartConfig)


def config_to_dict(config: RunConfig) -> dict[str, Any]:
    """Plain nested dictionaries, for YAML and JSON."""
    return asdict(config)


def config_from_dict(values: Mapping[str, Any]) -> RunConfig:
    """The inverse of ``config_to_dict``; sections that are missing keep their defaults.

    Raises:
        ValueError: a key that no field has.
    """
    config = RunConfig()
    for name, value in values.items():
        _set(config, name, value, "")
    return config


def _set(section: Any, name: str, value: Any, path: str) -> None:
    known = [f.name for f in fields(section)]
    if name not in known:
        raise ValueError(f"config key {path}{name}: unknown; allowed here: {', '.join(known)}")
    if isinstance(value, Mapping):
        for inner, item in value.items():
            _set(vars(section)[name], inner, item, f"{path}{name}.")
    else:
        setattr(section, name, value)
