"""The checks of a loaded model: each finds its fault, names it, and passes models that work."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from benchmarks.archives import unpack
from stepopsd_agent.models import Policy, Scorer, make_format
from stepopsd_agent.models.number_check import number_problems
from stepopsd_agent.models.packed import Tree
from stepopsd_agent.models.self_check import (
    end_problems,
    model_problems,
    template_problems,
    text_problems,
    vocabulary_problems,
    window_problems,
)
from tests.agent.models.test_response_end import TEMPLATES, tokenizer_with
from tests.helpers.models import tiny

FULL: dict[str, Any] = {"layer_types": ["full_attention"] * 2}
LARGE: dict[str, Any] = {**FULL, "initializer_range": 1.0}
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + CHATML
IGNORED_SYSTEM = "{% for m in messages if m.role != 'system' %}" + CHATML.partition("%}")[2]
DROPS_TURNS = "{% set messages = messages[-1:] %}" + CHATML
TWO_ENDS = CHATML.replace("<|end|>", "<|end|><|end|>")
SYSTEM_LAST = CHATML.replace(
    "{{ m.content }}",
    "{% if loop.last and messages[0].role == 'system' %}{{ messages[0].content }} {% endif %}{{ m.content }}",
)


def config(kind: str, **settings: Any) -> transformers.PretrainedConfig:
    """Of width 32 with two layers; None leaves a usual setting as transformers has it."""
    usual = {
        "vocab_size": 400,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "max_position_embeddings": 256,
        "initializer_range": 0.4,  # logits as far apart as a trained model's
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    if kind == "FalconConfig":  # which computes it
        del usual["head_dim"]
    made: transformers.PretrainedConfig = getattr(transformers, kind)(**{**usual, **settings})
    return made


def random_policy(kind: str, dtype: torch.dtype = torch.float32, **settings: Any) -> Policy:
    """A model of a class of transformers with the tokenizer of the tiny one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config(kind, **settings))  # type: ignore[no-untyped-call]
    return Policy(model.to(dtype), tiny().tokenizer)


def problems(policy: Policy) -> list[str]:
    """Of all checks."""
    return [problem for found in model_problems(policy).values() for problem in found]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["Qwen2Config", "Qwen3Config", "LlamaConfig", "GemmaConfig", "Olmo2Config"])
def test_self_check_passes_full_attention(kind: str, dtype: torch.dtype) -> None:
    """In either type; and the model attends afterwards as before."""
    policy = random_policy(kind, dtype)
    before = policy.model.config._attn_implementation
    assert problems(policy) == []
    assert policy.model.config._attn_implementation == before == "stepopsd"


def test_self_check_passes_the_tiny_policy() -> None:
    """In all of its types."""
    assert problems(tiny()) == problems(tiny("float64")) == problems(tiny("bfloat16")) == []


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("MistralConfig", {"sliding_window": 8}),
        ("Qwen2Config", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}),
        ("Gemma3TextConfig", {"sliding_window": 8}),
        ("GptOssConfig", {"sliding_window": 8}),
        ("GPTNeoConfig", {"attention_types": [[["global", "local"], 1]], "num_layers": 2}),
    ],
)
def test_window_problems_names_windows(kind: str, settings: dict[str, Any]) -> None:
    """From the configuration alone."""
    (problem,) = window_problems(config(kind, **settings))
    assert "full attention" in problem and "choose a model like Qwen2.5" in problem
    assert kind == "GPTNeoConfig" or problem.startswith("sliding_window is 8:")


def test_window_problems_of_one_window_names_a_setting_that_works() -> None:
    """A Mistral is exact in rows no longer than its window; one that never cuts a row is none."""
    (problem,) = window_problems(config("MistralConfig", sliding_window=64))
    assert problem.endswith("set sliding_window to null and max_position_embeddings to 64 in config.json")
    assert problems(random_policy("MistralConfig", sliding_window=None, max_position_embeddings=64)) == []
    assert problems(random_policy("MistralConfig", sliding_window=64, max_position_embeddings=64)) == []
    assert window_problems(config("Qwen2Config", use_sliding_window=False, sliding_window=8)) == []


@pytest.mark.parametrize("kind", ["Phi3Config", "LlamaConfig"])
def test_window_problems_names_positions_that_depend_on_other_rows(kind: str) -> None:
    """Longrope, as Phi-3 and Phi-4-mini have it: a row of 60 tokens is scored otherwise beside one of 100."""
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 8, "long_factor": [4.0] * 8}

    def made(longest: int) -> transformers.PretrainedConfig:
        switch = {"original_max_position_embeddings": 64}
        outside = {**switch, "sliding_window": None} if kind == "Phi3Config" else {}
        return config(kind, rope_parameters={**rope, **switch}, max_position_embeddings=longest, **outside)

    (problem,) = window_problems(made(256))
    assert "longer than 64 tokens" in problem and "choose a model like Qwen2.5" in problem
    assert window_problems(made(64)) == []
    long, short = (range(5, 5 + size) for size in (100, 60))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        policy = Policy(AutoModelForCausalLM.from_config(made(256)), tiny().tokenizer)  # type: ignore[no-untyped-call]
    trees = [Tree(tuple(row), scored=tuple(range(1, len(row)))) for row in (long, short)]
    both = Scorer(policy).logprobs(trees)[1][0]
    ((alone, _),) = Scorer(policy).logprobs(trees[1:])
    assert float((both - alone).abs().max()) > 0.1  # what the refusal spares


def test_window_problems_names_a_missing_longest_row() -> None:
    """In place of an AttributeError during play."""
    (problem,) = window_problems(transformers.MambaConfig())
    assert "MambaConfig has no max_position_embeddings" in problem and "add it to config.json" in problem


@pytest.mark.parametrize(
    ("kind", "settings"), [("FalconConfig", {"alibi": True}), ("BloomConfig", {}), ("MptConfig", {})]
)
def test_window_problems_names_alibi(kind: str, settings: dict[str, Any]) -> None:
    """The cause, and not what breaks first; whatever longest row the configuration has or is given."""
    (problem,) = window_problems(config(kind, **settings))
    assert problem.startswith("the model has ALiBi") and "choose a model like Qwen2.5" in problem
    assert window_problems(getattr(transformers, kind)(**settings)) == [problem]


def test_a_model_without_alibi_of_a_class_that_may_have_it_is_exact() -> None:
    """A Falcon with rotary positions."""
    assert problems(random_policy("FalconConfig", alibi=False)) == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("kind", "settings", "named"),
    [
        ("GraniteConfig", {"logits_scaling": 8.0}, r"scoring and play give.*nats off.*logits_scaling=8\.0"),
        ("CohereConfig", {}, r"scoring and play give.*nats off.*logit_scale=0\.0625"),
        ("Gemma2Config", {**LARGE, "attn_logit_softcapping": None}, r"final_logit_softcapping=30\.0"),
        ("Gemma2Config", {**FULL, "final_logit_softcapping": None}, "softcap"),
        ("GptOssConfig", {**FULL, "num_local_experts": 2, "num_experts_per_tok": 1}, "attention sinks"),
        ("BloomConfig", {}, "scoring fails on BloomForCausalLM"),
    ],
)
def test_number_problems_finds_other_logits_and_attention(
    kind: str, settings: dict[str, Any], named: str, dtype: torch.dtype
) -> None:
    """Scaled and capped logits, caps and sinks of attention, no attention function at all."""
    found = number_problems(random_policy(kind, dtype, **settings))
    assert found and all("choose a model like" in problem for problem in found)
    assert re.search(named, found[0]), found[0]


def test_number_problems_finds_a_fault_of_play_and_of_scoring_each() -> None:
    """Play that forgets tokens; scoring at another temperature."""

    class Wrong(Policy):
        def next_logits(self, new: Any, cache: Any) -> Any:
            return super().next_logits({row: ids[-1:] for row, ids in new.items()}, cache)

    one = tiny()
    (problem,) = number_problems(Wrong(random_policy("LlamaConfig").model, one.tokenizer))
    assert problem.startswith("play gives log-probabilities up to")

    class Other(Policy):
        def read_out(self, hidden: Any, reader: Any, temperature: float) -> Any:
            return super().read_out(hidden, reader, temperature * 0.8)

    (problem,) = number_problems(Other(random_policy("LlamaConfig").model, one.tokenizer))
    assert problem.startswith("scoring gives log-probabilities up to")


def test_vocabulary_problems_finds_tokens_without_a_row() -> None:
    """Added to the tokenizer alone; the remedy works."""
    policy = tiny()
    assert vocabulary_problems(policy) == []
    policy.tokenizer.add_tokens(["<|new|>"])
    (problem,) = vocabulary_problems(policy)
    assert "1 tokens such as '<|new|>'" in problem and "resize_token_embeddings" in problem
    policy.model.resize_token_embeddings(len(policy.tokenizer))
    assert problems(policy) == []


def test_end_problems_finds_a_missing_end() -> None:
    """The word None would be written in its place."""
    policy = tiny()
    policy.tokenizer.eos_token = None
    (problem,) = end_problems(Policy(policy.model, policy.tokenizer))
    assert "no eos token" in problem and "set tokenizer.eos_token" in problem


def test_end_problems_finds_an_end_of_several_tokens() -> None:
    """Written as text it would not end anything."""
    policy = tiny()
    policy.tokenizer.split_special_tokens = True
    (problem,) = end_problems(policy)
    assert "'<|end|>', is" in problem and "tokens when it is written, and has to be 1" in problem


def chat(template: str, system: str = "") -> Policy:
    """The tiny policy with a template."""
    policy = tiny()
    policy.tokenizer.chat_template = template
    return Policy(policy.model, policy.tokenizer, prompt_format=make_format(policy.tokenizer, "on", system))


@pytest.mark.parametrize(
    ("template", "system", "named"),
    [
        (NO_SYSTEM, "Be brief.", r"refuses a system message \(no system role\); set model\.system to ''"),
        (IGNORED_SYSTEM, "Be brief.", r"leaves out or changes the system message; set model\.system to ''"),
        (SYSTEM_LAST, "Be brief.", r"repeats the system message in a later turn; set model\.system to ''"),
        (DROPS_TURNS, "", r"drops or rewrites the response of an earlier turn.*set model\.chat to off"),
        (TWO_ENDS, "", r"writes '<\|end\|>' 2 times after a response, and 1 times after one that ended with"),
        ("{{ raise_exception('never') }}", "", r"the chat template fails \(never\); set model\.chat to off"),
    ],
)
def test_template_problems_names_the_setting(template: str, system: str, named: str) -> None:
    """Exactly one problem each, found by the check of templates alone."""
    policy = chat(template, system)
    (problem,) = template_problems(policy)
    assert re.search(named, problem), problem
    assert problems(policy) == [problem]
    assert template_problems(chat(CHATML, system)) == []
    assert system == "" or template not in (NO_SYSTEM, SYSTEM_LAST) or template_problems(chat(template)) == []


@pytest.mark.parametrize("name", TEMPLATES)
def test_self_check_passes_templates_of_real_shapes(name: str) -> None:
    """With and without a system message."""
    tokenizer = tokenizer_with(name)
    model = tiny().model
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    for system in ("", "Be brief."):
        assert problems(Policy(model, tokenizer, prompt_format=make_format(tokenizer, "on", system))) == []


def test_self_check_passes_the_tokenizer_of_qwen3(test_data: Path, tmp_path: Path) -> None:
    """Its template rewrites earlier turns, which rows that only grow do not notice."""
    unpack(test_data / "tokenizers" / "qwen3.tar.xz", tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "qwen3")
    model = tiny().model
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    assert problems(Policy(model, tokenizer, prompt_format=make_format(tokenizer, "on", "Be brief."))) == []


def test_text_problems_finds_tags_that_decoding_drops() -> None:
    """Special tokens vanish; ordinary added tokens stay."""
    policy = tiny()
    policy.tokenizer.add_tokens(["<think>", "</think>"])
    assert text_problems(policy) == []
    policy.tokenizer.add_special_tokens({"additional_special_tokens": ["<action>", "</action>"]})
    (problem,) = text_problems(policy)
    assert "the response tags <action>, </action> do not come back" in problem and "special: false" in problem


def test_text_problems_finds_texts_that_change() -> None:
    """As where a tokenizer knows words alone; blanks that mark a beginning are `test_sentencepiece`'s."""
    words = {"look": 0, "second": 1, "room": 2, "<unk>": 3}
    one = Tokenizer(models.WordLevel(vocab=words, unk_token="<unk>"))
    one.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=one, eos_token="~")  # type: ignore[no-untyped-call]
    *_, problem = text_problems(Policy(tiny().model, tokenizer))
    assert "comes back as 'look second room' in place of 'look\\nsecond room'" in problem
