"""The settings of a run, as dataclasses; command line and YAML files are made from their fields."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, Literal

from stepopsd_agent.config.alarms import AlarmsConfig
from stepopsd_agent.config.environment import EnvConfig, EvalConfig
from stepopsd_agent.config.learning import CriticConfig, LearnerConfig, ScheduleConfig
from stepopsd_agent.config.limits import at_least
from stepopsd_agent.config.serving import OpenAIConfig

Dtype = Literal["auto", "float32", "bfloat16", "float64"]
"""Type of a model's weights; "auto" is float32 on CPU and bfloat16 on CUDA."""
Position = Literal["inline", "prefix"]
"""Place of a hindsight block: right before each step's tokens, or once, after the row's first prompt."""
PeerFor = Literal["failed", "all"]
"""Which attempts are shown a peer."""
Sampler = Literal["builtin", "vllm", "ray"]
"""Who draws the tokens: the built-in decoder with the policy's own network, vLLM, or copies in Ray actors."""
PenaltyOn = Literal["step", "episode"]
"""The quantity that a penalty is taken off: the refused step's own score, or its episode's return."""
HindsightMode = Literal["none", "correctness", "peer", "correctness+peer", "next_observation", "gold"]
"""The content of a hindsight block."""
Chat = Literal["auto", "on", "off"]
"""Whether prompts go through the tokenizer's chat template; "auto" where it has one."""


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
    dtype: Dtype = "auto"
    chat: Chat = "auto"
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
        slots: episodes played at once, by each process or actor; a finished one's slot takes the next task.
        backend: who draws the tokens: "builtin"; "vllm" (extra ``vllm``), in this process unless url names a
            server; or "ray" (extra ``ray``), the built-in decoder in actors of their own, on this machine or
            the cluster that RAY_ADDRESS names. All draw the same tokens, up to rounding.
        url: of a vLLM server, such as http://127.0.0.1:8000; it is given the weights after every update.
        actors: number of Ray actors; each plays whole groups.
        actor_gpus: GPUs of each actor, fractions sharing one; 0: actors play on the CPU, with a thread each.
        ahead: actors play the next update's groups while this one is learned from, with weights that are one
            update older, except after a checkpoint. Needs backend "ray".
        engine_memory: share of a GPU's memory that vLLM in this process takes while it draws.
        temperature: sampling temperature in training.
        top_k: draw from the k likeliest tokens only; 0: from all. Cuts by top_k and top_p are for training;
            evaluation draws from all tokens.
        top_p: draw from the likeliest tokens only that together reach this probability; 1: from all.
        stop: strings that end a response, beside the tokens that do, in training and evaluation.
        max_tokens: longest response, in tokens.
        max_row_tokens: an episode whose row would grow beyond this is truncated.
        invalid_penalty: taken off for every command that is not admissible; a success pays 1.
        invalid_penalty_on: "step" takes it off the score of that step alone (verl-agent's), "episode" off the
            return, and so off the credit of every step of the episode.
        anchor_similarity: observations of a group at least so alike count as the same anchor; 1: equal ones.
        max_rounds: above 1, groups whose attempts all have one return are left out, and as many further tasks
            played instead, until none is missing or this many rounds were played (DAPO's dynamic sampling).
        revisit_share: share of an update's groups, rounded, that play tasks of an earlier update again.
        revisit_after: how many updates earlier.
        mc_rollouts: fresh attempts per step, for a credit method that needs Monte-Carlo values.
    """

    tasks: int = at_least(1, 16)
    group_size: int = at_least(1, 8)
    slots: int = at_least(1, 64)
    backend: Sampler = "builtin"
    url: str | None = None
    actors: int = at_least(1, 2)
    actor_gpus: float = at_least(0, 0.0)
    ahead: bool = False
    engine_memory: float = at_least(0, 0.5, most=1)
    temperature: float = 1.0
    top_k: int = at_least(0, 0)
    top_p: float = 1.0
    stop: list[str] = field(default_factory=list)
    max_tokens: int = at_least(1, 16)
    max_row_tokens: int = 4096
    invalid_penalty: float = at_least(0, 0.0)
    invalid_penalty_on: PenaltyOn = "step"
    anchor_similarity: float = 1.0
    max_rounds: int = at_least(1, 1)
    revisit_share: float = at_least(0, 0.0)
    revisit_after: int = at_least(1, 10)
    mc_rollouts: int = at_least(1, 9)

    @property
    def foreign(self) -> bool:
        """Whether the tokens are drawn by another network than the policy's own."""
        return self.backend == "vllm"

    @property
    def rescored(self) -> bool:
        """Whether the recorded log-probs are of another distribution than the learner compares."""
        return self.foreign or self.top_k > 0 or self.top_p < 1

    def of_batch(self) -> dict[str, Any]:
        """The settings that `collate` takes, under its names."""
        names = ("anchor_similarity", "invalid_penalty", "invalid_penalty_on")
        return {name: getattr(self, name) for name in names}


@dataclass
class HindsightConfig:
    """The hindsight block: what it holds and where it stands; and the teacher's weights.

    Attributes:
        mode: nothing, how the episode ended, a successful peer of the same group, or both; what the
            environment answered to the step ("next_observation", inline only); or the task's gold answer.
        position: "inline" right before each step's tokens (the paper's), "prefix" right after the first
            prompt.
        peer: show the peer's commands with the answers to them, or the commands alone.
        peer_for: who is shown a peer: failed attempts, or all, a success then reading another one.
        max_peer_tokens: a longer peer, or answer of the environment, loses its middle.
        teacher: "stale" weights (refreshed), "live" (current), "initial", or "ema" (a moving average).
        refresh: updates between two refreshes of the stale teacher.
        ema_rate: share of the current weights that each update mixes into the moving average.
        top_k: likeliest tokens kept of the teacher's distributions, for a credit method that compares them;
            0 keeps the whole vocabulary.
    """

    mode: HindsightMode = "correctness+peer"
    position: Position = "inline"
    peer: Literal["transcript", "commands"] = "transcript"
    peer_for: PeerFor = "failed"
    max_peer_tokens: int = at_least(1, 512)
    teacher: Literal["stale", "live", "initial", "ema"] = "stale"
    refresh: int = at_least(1, 10)
    ema_rate: float = at_least(0, 0.05, most=1)
    top_k: int = at_least(0, 100)


@dataclass
class WarmstartConfig:
    """Behaviour cloning from an exploring expert.

    Attributes:
        demonstrations: expert episodes to clone.
        passes: passes over them.
        batch_rows: rows per optimizer step.
        lr: peak learning rate of AdamW (linear warm-up, cosine decay).
        muon_lr: peak learning rate of Muon on the weight matrices; 0 gives them to AdamW, too. A fresh model
            learns to copy names several times sooner with Muon; a pretrained one is better left to AdamW.
        mistake_rate: share of the expert's commands replaced by a mistake that it then mends.
        mistake_passes: the last so many passes (0.5: half of one) imitate the mistakes as well,
            as one does who cannot tell them from the rest; behind a hindsight block they are never imitated.
        novice_demonstrations: episodes of a novice on further tasks, imitated last, once, mistakes and all.
        novice_mistake_rate: share of the novice's commands that are mistakes.
        hindsight_steps: steps per demonstration also shown behind an inline hindsight block.
        hindsight_share: share of the games also shown played by an expert that read a peer, behind a prefix
            block.
        observation_weight: weight of the loss on the environment's own words; they teach a fresh model to
            read.
    """

    demonstrations: int = at_least(1, 2000)
    passes: int = at_least(1, 1)
    batch_rows: int = at_least(1, 8)
    lr: float = at_least(0, 2e-3)
    muon_lr: float = at_least(0, 0.0)
    mistake_rate: float = at_least(0, 0.1, most=1)
    mistake_passes: float = at_least(0, 0.0)
    novice_demonstrations: int = at_least(0, 0)
    novice_mistake_rate: float = at_least(0, 0.4, most=1)
    hindsight_steps: int = at_least(0, 2)
    hindsight_share: float = at_least(0, 0.25, most=1)
    observation_weight: float = at_least(0, 0.3)


@dataclass
class RunConfig:
    """Settings of a whole run; one file serves every command.

    Attributes:
        seed: everything random follows from it.
        updates: policy updates of a training run.
        device: "cpu", "cuda" or "cuda:N".
        threads: CPU threads of PyTorch, at most as many as the process may use (its processors, or fewer in
            OMP_NUM_THREADS); 0: all of them. Equal results need equal threads.
        checkpoint_every: updates between two checkpoints.
        tracking: where training shows its metrics beside the run folder's files: one or more of tensorboard,
            wandb and trackio, separated by commas; or none.
        env: the games.
        model: the language model.
        rollout: how episodes are collected.
        hindsight: the teacher's hindsight block and weights.
        schedule: how scheduled fields of the credit method change.
        learner: the update.
        critic: the model that predicts values.
        alarms: thresholds and consequences.
        eval: evaluation on held-out games.
        warmstart: behaviour cloning (``stepopsd warmstart``).
        openai: the served model that ``--agent openai`` asks.
    """

    seed: int = at_least(0, 0)
    updates: int = at_least(1, 150)
    device: str = "cpu"
    threads: int = at_least(0, 0)
    checkpoint_every: int = at_least(1, 5)
    tracking: str = "tensorboard"
    env: EnvConfig = field(default_factory=EnvConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    hindsight: HindsightConfig = field(default_factory=HindsightConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    critic: CriticConfig = field(default_factory=CriticConfig)
    alarms: AlarmsConfig = field(default_factory=AlarmsConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    warmstart: WarmstartConfig = field(default_factory=WarmstartConfig)
    openai: OpenAIConfig = field(default_factory=OpenAIConfig)


def check_hindsight(config: HindsightConfig) -> None:
    """Check that what the block holds can stand where it is to stand.

    Raises:
        ValueError: it cannot.
    """
    if config.mode == "next_observation" and config.position != "inline":
        raise ValueError(
            f"hindsight.position is {config.position!r}, but hindsight.mode next_observation tells every "
            "step something else, which one block for all cannot: give position inline, or another mode"
        )


def config_to_dict(config: RunConfig) -> dict[str, Any]:
    """Plain nested dictionaries for YAML and JSON; constructor arguments stand beside a section's fields."""
    values = asdict(config)
    for section in _OPEN:
        values[section] |= values[section].pop("arguments")
    return values


def config_from_dict(values: Mapping[str, Any]) -> RunConfig:
    """The inverse of ``config_to_dict``; missing fields, and sections missing or null, keep their defaults.

    Raises:
        ValueError: a key that no field has.
    """
    config = RunConfig()
    for name, value in values.items():
        _set(config, name, value, "")
    return config


_OPEN = ("env", "eval")
"""Sections that take further keys, which `tasks.settings` checks: the arguments of the environment."""


def _set(section: Any, name: str, value: Any, path: str) -> None:
    known = [f.name for f in fields(section) if f.name != "arguments"]
    if name not in known and path.removesuffix(".") in _OPEN:
        section.arguments[name] = value
    elif name not in known:
        raise ValueError(f"config key {path}{name}: unknown; allowed here: {', '.join(known)}")
    elif isinstance(value, Mapping):
        for inner, item in value.items():
            _set(vars(section)[name], inner, item, f"{path}{name}.")
    elif value is not None or not is_dataclass(vars(section)[name]):
        setattr(section, name, value)
