"""Parts of `update_speed_trl`: a game as an environment with tools, and a model cloned on tool calls."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast
from trl.chat_template_utils import (
    get_training_chat_template,
    is_chat_template_prefix_preserving,
    qwen2_5_chat_template,
)

from stepopsd_agent.config import RunConfig
from stepopsd_agent.learner import Example, clone
from stepopsd_agent.models import Policy, tiny_policy, train_tokenizer
from stepopsd_agent.models.packed import Tree
from stepopsd_agent.rollout import demonstrate
from stepopsd_agent.tasks import env_arguments, make_stack, task_ids
from stepopsd_wrappers import Episode

START, END, DONE = "<|im_start|>", "<|im_end|>", "Done."


class HouseEnv:
    """A game in TRL's interface of environments, where public methods are tools."""

    config: RunConfig

    def __init__(self) -> None:
        arguments = env_arguments(self.config.env)
        self._env = gym.make(self.config.env.id, disable_env_checker=True, admissible=False, **arguments)
        self.steps, self.won, self._over = 0, False, False

    def reset(self, task_id: str, seed: int, **columns: Any) -> str:
        """Begin a game and return its opening text, which TRL adds to the prompt."""
        text, _ = self._env.reset(seed=seed, options={"game": task_id})
        self.steps, self.won, self._over = 0, False, False
        return str(text)

    def act(self, command: str) -> str:
        """Give one command to the game.

        Args:
            command: The command, such as: go to cabinet 1

        Returns:
            What happens.
        """
        if self._over:
            raise ValueError("The game is over.")
        text, _, terminated, truncated, info = self._env.step(command)
        self.steps, self.won = self.steps + 1, bool(info["won"])
        self._over = bool(terminated or truncated)
        return str(text)


def tool_tokenizer(texts: Sequence[str], vocabulary: int) -> PreTrainedTokenizerBase:
    """A tokenizer trained on texts of the tool format, with the special tokens of the chat template."""
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=train_tokenizer(texts, vocabulary), clean_up_tokenization_spaces=False
    )
    tokenizer.add_special_tokens(
        {"eos_token": END, "pad_token": "<|end|>", "additional_special_tokens": [START]}
    )
    tokenizer.chat_template = qwen2_5_chat_template
    return tokenizer


def messages_of(episode: Episode) -> list[dict[str, Any]]:
    """An episode as TRL's chat; after the last observation the agent says that it is done."""
    chat: list[dict[str, Any]] = [{"role": "user", "content": episode.steps[0].observation}]
    for step in episode.steps[1:]:
        call = {"type": "function", "function": {"name": "act", "arguments": {"command": step.action}}}
        chat.append({"role": "assistant", "content": "", "tool_calls": [call]})
        chat.append({"role": "tool", "name": "act", "content": step.observation})
    return [*chat, {"role": "assistant", "content": DONE}]


def tool_example(tokenizer: PreTrainedTokenizerBase, text: str, light: float) -> Example:
    """A rendered chat as an example for cloning: the agent's tokens have weight 1, the others ``light``."""
    ids: list[int] = []
    weights: list[float] = []
    opening = f"{START}assistant\n"
    for number, piece in enumerate(text.split(opening)):
        spoken, end, read = piece.partition(END) if number else ("", "", piece)
        last = piece is text.rsplit(opening, 1)[-1]
        for part, weight in ((spoken + end, 1.0), (read + ("" if last else opening), light)):
            found = tokenizer.encode(part, add_special_tokens=False) if part else []
            ids += found
            weights += [weight] * len(found)
    return Example(Tree(tuple(ids), (), tuple(range(1, len(ids)))), (0.0, *weights[1:]))


def tool_model(settings: dict[str, Any], config: RunConfig, folder: Path) -> None:
    """Clone the expert in the tool format, on as many demonstrations as the model in the plain format."""
    env = make_stack(config.env)
    ids, count = task_ids(env), settings["demonstrations"]
    chosen = [ids[k % len(ids)] for k in range(count)]
    played = [d.episode for d in demonstrate(env, chosen, config.warmstart.mistake_rate, config.seed)]
    plain = tool_tokenizer(["-"], 300)
    if not is_chat_template_prefix_preserving(plain):
        plain.chat_template = get_training_chat_template(plain)
    texts = [
        str(plain.apply_chat_template(messages_of(e), tools=[HouseEnv.act], tokenize=False)) for e in played
    ]
    pieces = [p for text in texts[:500] for p in text.replace(START, END).split(END)]
    tokenizer = tool_tokenizer(pieces, config.model.vocab_size)
    shape = replace(config.model, vocab_size=len(tokenizer), max_positions=4096)
    model = tiny_policy(pieces, shape, "cpu", config.seed).model
    torch.nn.Module.train(model.resize_token_embeddings(len(tokenizer)), False)
    for known in (model.config, model.generation_config):
        known.eos_token_id, known.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    policy = Policy(model, tokenizer)
    once = replace(config.warmstart, passes=1)
    clone(policy, [tool_example(tokenizer, t, once.observation_weight) for t in texts], once, config.seed)
    policy.save(folder / "model")
