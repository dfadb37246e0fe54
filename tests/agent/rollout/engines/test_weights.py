"""What an engine is sent: every weight, the tied one twice, an adapter merged."""

import resource
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stepopsd_agent.config import LoraConfig
from stepopsd_agent.models import Policy
from stepopsd_agent.rollout.engines import EngineError, engine_weights, save_for_engine
from stepopsd_agent.rollout.engines.weights import write_weights
from tests.helpers.models import experts, tiny


def test_a_tied_output_layer_is_sent_with_its_embedding() -> None:
    """An engine that is sent one of the two goes on with the old other one."""
    policy = tiny()
    weights = engine_weights(policy)
    assert torch.equal(weights["lm_head.weight"], weights["model.embed_tokens.weight"])
    assert set(dict(policy.model.named_parameters())) < set(weights)


def test_written_weights_are_the_present_ones(tmp_path: Path) -> None:
    """Also the second time, and the tied one again twice."""
    policy = tiny()
    for _ in range(2):
        with torch.no_grad():
            for parameter in policy.model.parameters():
                parameter.add_(1.0)
        write_weights(policy, tmp_path)
        found = load_file(tmp_path / "model.safetensors")
        assert found.keys() == engine_weights(policy).keys()
        assert all(torch.equal(found[name], weight) for name, weight in engine_weights(policy).items())
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize("write", [write_weights, save_for_engine])
def test_a_full_disk_is_told_in_a_sentence(tmp_path: Path, write: Callable[[Policy, Path], None]) -> None:
    """Temporary files are often held in memory, where a large model has no room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(EngineError, match=f"^{tmp_path}: cannot write the weights .*TMPDIR"):
            write(tiny(), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_adapter_is_sent_merged() -> None:
    """The engine has no adapter: what it is sent changes with the adapter alone, under the plain names."""
    pytest.importorskip("peft", reason="an adapter needs peft: pip install -c constraints.txt -e '.[lora]'")
    policy = tiny()
    before = {name: weight.clone() for name, weight in engine_weights(policy).items()}
    policy.add_adapter(LoraConfig(rank=2), seed=0)
    same = engine_weights(policy)
    assert same.keys() == before.keys() and all(torch.equal(same[name], before[name]) for name in before)
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if "lora_B" in name:
                parameter.add_(1.0)
    changed = engine_weights(policy)
    assert any(not torch.equal(changed[name], before[name]) for name in before)


def test_a_model_whose_folder_has_other_names_is_refused(tmp_path: Path) -> None:
    """Its weights could not be sent after an update: experts are trained as one tensor, stored one by one."""
    with pytest.raises(EngineError, match=r"under other names.*set rollout\.backend to builtin"):
        save_for_engine(experts(), tmp_path / "experts")
    save_for_engine(tiny(), tmp_path / "plain")
