"""Where a response ends: one token, the template's own, for rollout, warm start and records alike."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from benchmarks.archives import unpack
from stepopsd_agent.config import HindsightConfig, WarmstartConfig
from stepopsd_agent.learner import examples
from stepopsd_agent.models import Policy, make_format
from stepopsd_agent.models.packed import RowCache
from stepopsd_agent.models.prompt_format import encode
from stepopsd_agent.rollout import Attempt, SamplingParams, demonstrate, rollout
from stepopsd_agent.run.scored_records import with_tokens_of_text
from stepopsd_agent.tasks import make_stack, task_ids
from tests.helpers.models import tiny
from tests.helpers.runs import run_config

GEMMA = (
    "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
PHI = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|stop|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
LLAMA2 = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content }} <|end|>"
    "{% else %}<s>[INST] {{ m.content }} [/INST]{% endif %}{% endfor %}"
)
GLM = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
ALPACA = (
    "{% for m in messages %}### {{ m.role }}:\n{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}### assistant:\n{% endif %}"
)
TEMPLATES = {
    "gemma": (GEMMA, "<end_of_turn>", ("<start_of_turn>", "<end_of_turn>")),
    "phi": (PHI, "<|stop|>", ("<|user|>", "<|assistant|>", "<|stop|>")),
    "llama2": (LLAMA2, "<|end|>", ("<s>",)),
    "glm": (GLM, "<|user|>", ("<|user|>", "<|assistant|>")),  # the next turn's head ends a response
    "alpaca": (ALPACA, "<|end|>", ()),  # writes no end: that is eos
}
"""Templates of the shapes that models have, the token that ends a response, and the control tokens."""


def tokenizer_with(name: str) -> PreTrainedTokenizerBase:
    """The tiny model's tokenizer, whose eos token is <|end|>, with one of the templates."""
    template, _, control = TEMPLATES[name]
    tokenizer = tiny().tokenizer
    tokenizer.add_special_tokens({"additional_special_tokens": list(control)})
    if "<s>" in control:
        tokenizer.bos_token = "<s>"
    tokenizer.chat_template = template
    return tokenizer


def qwen3(test_data: Path, folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of Qwen3."""
    unpack(test_data / "tokenizers" / "qwen3.tar.xz", folder)
    return AutoTokenizer.from_pretrained(folder / "qwen3")


def chat_policy(tokenizer: PreTrainedTokenizerBase, kind: type[Policy] = Policy) -> Policy:
    """A tiny model with this tokenizer."""
    model = tiny().model
    model.resize_token_embeddings(len(tokenizer))
    return kind(model, tokenizer)


@pytest.mark.parametrize("name", TEMPLATES)
def test_end_id_is_the_template_s_own(name: str) -> None:
    """Also where eos is another token; and sampling stops there."""
    tokenizer = tokenizer_with(name)
    end = tokenizer.convert_tokens_to_ids(TEMPLATES[name][1])
    policy = chat_policy(tokenizer)
    assert policy.prompt_format.end_id == end
    said = "look " if name == "llama2" else "look"  # which has a blank before the end
    assert policy.prompt_format.response_ids("look") == [*encode(tokenizer, [said])[0], end]
    assert policy.stop_ids == {end, tokenizer.eos_token_id}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("last", ["end", "other", "none"])
def test_rows_have_one_end_of_turn(name: str, last: str) -> None:
    """Whether a response ended with the template's end, another stop token, or at the length limit."""
    tokenizer = tokenizer_with(name)
    prompt_format = make_format(tokenizer)
    end = prompt_format.end_id
    ids: list[int] = {"end": [end], "other": encode(tokenizer, ["<|end|>"])[0], "none": []}[last]
    if last == "other" and ids == [end]:
        pytest.skip("eos is this template's end")
    turn = prompt_format.turn_ids("\nagain\n> ", closed=ids == [end])
    row = [*prompt_format.first_ids("room\n> "), *encode(tokenizer, ["look"])[0], *ids, *turn]
    messages = [("user", "room"), ("assistant", "look"), ("user", "again")]
    whole = tokenizer.apply_chat_template(
        [{"role": role, "content": content} for role, content in messages],
        tokenize=False,
        add_generation_prompt=True,
    )
    text = str(tokenizer.decode(row))
    if last == "other":
        text = text.replace("<|end|>", "")  # as it was sampled
    if name == "alpaca":
        assert text.replace("look<|end|>", "look") == whole and text.count("<|end|>") == 1
    elif name == "llama2" and last == "end":
        assert text == str(whole).replace("look <|end|>", "look<|end|>")  # sampled without the blank
    else:
        assert text == whole


def test_end_id_without_any_end_says_so() -> None:
    """A tokenizer without eos would write the word None."""
    tokenizer = tiny().tokenizer
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match=r"no eos token.*set tokenizer\.eos_token"):
        make_format(tokenizer, "off").turn_ids("\nagain\n> ", closed=False)


def test_qwen3_response_ended_by_another_stop_token_gets_its_end(test_data: Path, tmp_path: Path) -> None:
    """Base and instruct models sample <|endoftext|>, too; the next turn begins behind <|im_end|>."""
    tokenizer = qwen3(test_data, tmp_path)
    policy = chat_policy(tokenizer)
    policy.model.generation_config.eos_token_id = [151645, 151643]
    prompt_format = policy.prompt_format
    assert prompt_format.end_id == 151645 and policy.stop_ids == {151645, 151643}
    ended = [prompt_format.turn_ids("\nagain\n> ", closed=closed) for closed in (True, False)]
    assert str(tokenizer.decode(ended[0])).startswith("\n<|im_start|>user\nagain<|im_end|>\n")
    assert ended[1] == [151645, *ended[0]]


def test_warm_start_and_records_end_responses_as_the_template_does(test_data: Path, tmp_path: Path) -> None:
    """With Qwen3's list of stop ids, not with the smallest of them."""
    tokenizer = qwen3(test_data, tmp_path)
    policy = chat_policy(tokenizer)
    policy.model.generation_config.eos_token_id = [151645, 151643]
    config = run_config()
    env = make_stack(config.env)
    (one, *_) = demonstrate(env, task_ids(env), mistake_rate=0.0, seed=0)
    hindsight, rng = HindsightConfig(position="inline"), np.random.default_rng(0)
    rows = examples(one, policy, WarmstartConfig(hindsight_steps=1), hindsight, rng)
    text = str(tokenizer.decode(list(rows[0].tree.trunk)))
    assert "<|endoftext|>" not in text
    assert all(f"{turn.command}<|im_end|>" in text for turn in one.turns)
    assert rows[0].tree.branches[0].target[-1] == 151645
    steps = with_tokens_of_text(policy, one.episode, "plain").steps[1:]
    assert {step.tokens.sampled_ids[-1] for step in steps if step.tokens} == {151645}
    row = [i for step in steps if step.tokens for i in (*step.tokens.prompt_ids, *step.tokens.sampled_ids)]
    trunk = rows[0].tree.trunk
    assert tuple(row[: len(trunk)]) == trunk


class Scripted(Policy):
    """Answers every prompt with the same ids."""

    script: tuple[int, ...]

    def next_logits(self, new: Mapping[int, Sequence[int]], cache: RowCache) -> Tensor:
        """All the weight on the script's next id: the one behind the last that was fed, else the first."""
        logits = torch.full((len(new), len(self.tokenizer)), -1e4)
        for place, ids in enumerate(new.values()):
            known = self.script.index(ids[-1]) + 1 if ids[-1] in self.script[:-1] and len(ids) == 1 else 0
            logits[place, self.script[known]] = 0.0
        return logits


@pytest.mark.parametrize("last", ["<end_of_turn>", "<|end|>", ""])
def test_rollout_rows_have_one_end_of_turn(last: str) -> None:
    """Played with a template of Gemma's shape: what is sampled, then one end of turn, then the next turn."""
    tokenizer = tokenizer_with("gemma")
    policy = chat_policy(tokenizer, Scripted)
    assert isinstance(policy, Scripted)
    policy.script = tuple(encode(tokenizer, ["look" + last])[0])
    config = run_config(env={"step_limit": 3}).env
    env = make_stack(config)
    params = SamplingParams(max_tokens=len(policy.script), max_row_tokens=1024)
    (episode,) = rollout(policy, [env], [Attempt(task_ids(env)[0], seed=0)], params)
    first, second = (step.tokens for step in episode.steps[1:3])
    assert first is not None and second is not None and first.sampled_ids == policy.script
    text = str(tokenizer.decode([*first.sampled_ids, *second.prompt_ids]))
    assert text.startswith(f"look{last.replace('<end_of_turn>', '')}<end_of_turn>\n<start_of_turn>user\n")
    assert text.count("<end_of_turn>") == 2  # of the response, and of the user's turn
