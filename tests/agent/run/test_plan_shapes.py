"""Plans of models whose layers cannot be counted without storage: they end no run, and are upper bounds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers.models.auto import configuration_auto, modeling_auto

from stepopsd_agent import credit
from stepopsd_agent.cli.main import main
from stepopsd_agent.config import LoraConfig
from stepopsd_agent.models import Scorer
from stepopsd_agent.models.packed import Branch, Tree
from stepopsd_agent.models.self_check import window_problems
from stepopsd_agent.run import Trainer
from stepopsd_agent.run.planning.first_update import first_update, in_words
from stepopsd_agent.run.planning.shapes import shape_of
from tests.agent.models.test_row_cache import LATENT
from tests.agent.models.test_self_check import FULL, config, problems, random_policy
from tests.helpers.runs import run_config

SIZES: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 512}
PER_LAYER: dict[str, Any] = {"sliding_window": 256}
KINDS: list[tuple[str, dict[str, Any]]] = [
    ("GPT2Config", SIZES),
    ("GPTJConfig", {**SIZES, "rotary_dim": 8}),
    ("GPTNeoConfig", {"attention_types": [[["global"], 2]], "num_layers": 2, "num_heads": 2}),
    ("JetMoeConfig", {}),
    ("StableLmConfig", {}),
    ("XGLMConfig", {"d_model": 32, "num_layers": 2, "attention_heads": 2, "ffn_dim": 64}),
    ("AfmoeConfig", PER_LAYER),
    ("MixtralConfig", {}),
    ("Qwen3MoeConfig", {}),
    ("Gemma4UnifiedTextConfig", PER_LAYER),
]


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_shape_bounds_what_an_update_keeps(kind: str, settings: dict[str, Any]) -> None:
    """Bytes for the backward pass over a row, against those of the model itself."""
    policy = random_policy(kind, **settings)
    shape = shape_of(config(kind, **settings), LoraConfig(), torch.float32)
    assert shape.parameters == sum(p.numel() for p in policy.model.parameters())
    weights = {p.untyped_storage().data_ptr() for p in policy.model.parameters()}
    kept: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        policy.hidden(torch.arange(5, 69)[None], torch.arange(64)[None] > 0).sum()
    found = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    assert found <= 64 * shape.activations * 1.01  # beside it the ids, and which are scored


def test_shape_of_a_published_gpt2_has_a_cache() -> None:
    """Its configuration does not say how many heads have keys: all."""
    found = transformers.GPT2Config(n_embd=32, n_layer=3, n_head=4, vocab_size=50)
    assert shape_of(found, LoraConfig(), torch.float32).kv_width == 2 * 32


@pytest.mark.parametrize(("kind", "settings"), [("DeepseekV3Config", LATENT), ("LlamaConfig", {})])
def test_shape_knows_the_width_of_the_cache(kind: str, settings: dict[str, Any]) -> None:
    """As the model itself fills one; DeepSeek caches less than its heads read."""
    policy = random_policy(kind, **settings)
    cache = transformers.DynamicCache()
    policy.model.set_attn_implementation("sdpa")
    with torch.inference_mode():
        policy.model(torch.arange(5, 15)[None], past_key_values=cache)
    layers: Any = cache.layers
    filled = [layer.keys.numel() + layer.values.numel() for layer in layers]
    width = shape_of(config(kind, **settings), LoraConfig(), torch.float32).kv_width
    assert filled == [10 * width] * len(cache.layers)


@pytest.mark.parametrize("kind", ["Qwen3_5TextConfig", "JambaConfig", "XLMConfig"])
def test_shape_of_models_that_pass_no_probe_is_estimated(kind: str) -> None:
    """Layers with a state of their own find none in a cache, XLM asserts: no reason to end a plan."""
    mixed = {"layer_types": ["linear_attention", "full_attention"]} if kind.startswith("Qwen") else {}
    shape = shape_of(config(kind, **mixed), LoraConfig(), torch.float32)
    assert shape.kv_width > 0 and shape.activations > 0


def test_plan_refuses_the_layers_that_a_run_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It gave figures for a model that no run takes: of layers without full attention, gigabytes a token."""
    config("DeepseekV4Config").save_pretrained(tmp_path)
    assert main(["plan", f"--model.path={tmp_path}", "--env.tier=tiny", "--rate=1"]) == 2
    told = capsys.readouterr()
    assert "full attention in every layer" in told.err and told.err.count("\n") == 1 and not told.out


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        *KINDS,
        ("DogeConfig", {}),
        ("OPTConfig", {}),
        ("LlamaConfig", {}),
        ("GemmaConfig", {}),
        ("NemotronConfig", {}),
        ("FalconConfig", {"alibi": False}),
        ("DeepseekV3Config", LATENT),
    ],
)
def test_shape_knows_whose_rows_are_padded(kind: str, settings: dict[str, Any]) -> None:
    """As a run finds out by a pass; what transformers says of a class is not always so."""
    found = shape_of(config(kind, **settings), LoraConfig(), torch.float32)
    assert found.packs == random_policy(kind, **settings).takes_packs


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_shape_of_every_model_that_passes_the_checks() -> None:
    """Of all classes of transformers that can be made with two layers of width 32: as their runs do it."""
    checked = list[str]()
    names, kinds = (
        modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        vars(configuration_auto)["CONFIG_MAPPING_NAMES"],
    )
    for kind in sorted({kinds[name] for name in names if name in kinds}):
        for settings in (dict(KINDS).get(kind, {}), FULL, {"sliding_window": 256}):
            try:
                of = config(kind, **settings)
                if window_problems(of) or _size(of) > 3e7:
                    continue
                policy = random_policy(kind, **settings)
            except Exception:  # of classes that are made of other settings, or of parts for images
                continue
            if problems(policy):
                continue
            found = shape_of(config(kind, **settings), LoraConfig(), torch.float32)
            assert found.packs == policy.takes_packs, kind
            checked.append(kind)
            break
    assert len(checked) > 70 and {"JetMoeConfig", "AfmoeConfig", "DogeConfig", "GPT2Config"} <= {*checked}


def _size(of: transformers.PretrainedConfig) -> int:
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(of)  # type: ignore[no-untyped-call]
    return sum(p.numel() for p in model.parameters())


def test_jetmoe_is_scored_in_packs_as_it_computes_itself() -> None:
    """Rows of several lengths and a branch, whose tokens choose their heads of attention each for itself."""
    policy = random_policy("JetMoeConfig", torch.float64)
    assert policy.takes_packs
    row, branch = tuple(range(5, 29)), Branch(10, (40, 41), tuple(range(50, 62)))
    trees = [Tree(row, (branch,), tuple(range(1, 24))), Tree(row[:7], scored=(3, 6))]
    (first, (behind,)), (second, _) = Scorer(policy, attention="segments").logprobs(trees)
    policy.model.set_attn_implementation("eager")

    def own(ids: tuple[int, ...], places: Sequence[int]) -> Tensor:
        with torch.inference_mode():
            logits = policy.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        return torch.stack([logits[place - 1, ids[place]] for place in places])

    torch.testing.assert_close(first, own(row, range(1, 24)), atol=1e-5, rtol=0)
    torch.testing.assert_close(second, own(row[:7], (3, 6)), atol=1e-5, rtol=0)
    whole = (*row[:10], *branch.block, *branch.target)
    torch.testing.assert_close(behind, own(whole, range(12, 24)), atol=1e-5, rtol=0)


def test_shape_counts_an_adapter_on_named_layers() -> None:
    """The output layer where it is named, and names of several parts: as peft finds them, by their end."""

    def trained(targets: str) -> int:
        return shape_of(config("LlamaConfig"), LoraConfig(rank=3, targets=targets), torch.float32).trained

    assert trained("lm_head") == 3 * (32 + 400)
    assert trained("self_attn.q_proj") == trained("q_proj") == 2 * 3 * (32 + 32)
    assert trained("q_proj,lm_head") == trained("q_proj") + trained("lm_head")
    assert trained("1.self_attn.q_proj") == 3 * (32 + 32) and trained("proj") == 0
    assert trained("all-linear") == 2 * 3 * (2 * 64 + 2 * 48 + 3 * 96)


@pytest.mark.samples
@pytest.mark.parametrize(("kind", "settings"), [KINDS[0], KINDS[1]])
def test_first_update_of_such_a_model_is_compared_with_its_plan(kind: str, settings: dict[str, Any]) -> None:
    """A plan that fails would end the run after its first update."""
    policy = random_policy(kind, **settings)
    trainer = Trainer(run_config(rollout={"max_row_tokens": 256}), credit.make("step_opsd"), policy)
    episodes, _, seconds = trainer.step()
    assert "first update" in in_words(first_update(trainer, episodes, seconds))


@pytest.mark.samples
def test_first_update_of_a_method_without_a_teacher_asks_for_no_gold_answer() -> None:
    """`hindsight.mode=gold` is read by teachers alone, and ALFWorld has no answers."""
    small = {"tasks": 1, "group_size": 2, "slots": 2, "max_row_tokens": 256}
    config = run_config(rollout=small, hindsight={"mode": "gold"})
    trainer = Trainer(config, credit.make("grpo"), random_policy(KINDS[0][0], **KINDS[0][1]))
    episodes, _, seconds = trainer.step()
    assert "first update" in in_words(first_update(trainer, episodes, seconds))
