"""A model folder is checked when it is loaded."""

from pathlib import Path

import pytest
import torch

from stepopsd_agent.models import ModelFolderError, Policy, load_policy
from tests.agent.models.test_self_check import NO_SYSTEM, random_policy
from tests.helpers.models import tiny


def save(policy: Policy, folder: Path) -> Path:
    """A model folder."""
    policy.save(folder)
    return folder


def test_load_policy_refuses_windows_before_it_reads_weights(tmp_path: Path) -> None:
    """The folder is named first; the weights need not even be there."""
    folder = save(random_policy("MistralConfig", sliding_window=8), tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(
        ModelFolderError, match=rf"^{folder}: sliding_window is 8.*choose a model like Qwen2\.5"
    ):
        load_policy(folder)


def test_load_policy_refuses_what_the_numbers_show_unless_asked_not_to(tmp_path: Path) -> None:
    """Scaled logits, and a template that takes no system message."""
    policy = random_policy("GraniteConfig", logits_scaling=8.0)
    policy.tokenizer.chat_template = NO_SYSTEM
    folder = save(policy, tmp_path)
    with pytest.raises(ModelFolderError, match=r"scoring and play give.*\. And the chat template refuses"):
        load_policy(folder, system="Be brief.")
    assert load_policy(folder, checked=False).prompt_format.chat


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_load_policy_names_damaged_weights(tmp_path: Path, value: float) -> None:
    """They are no fault of the kind of model: another kind would not help."""
    policy = tiny()
    with torch.no_grad():
        next(iter(policy.model.parameters()))[:, 0] = value
    with pytest.raises(ModelFolderError, match="are not finite: its weights are damaged") as raised:
        load_policy(save(policy, tmp_path))
    assert "choose a model" not in str(raised.value)


def test_load_policy_names_no_flag_in_what_it_refuses(tmp_path: Path) -> None:
    """It is called from Python, too: a folder that is not there, an empty one, a damaged one."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "tokenizer.json").write_text("{", encoding="utf-8")
    for name, fault in (
        ("nowhere", "there is no such folder"),
        ("empty", "no tokenizer in this model folder"),
        ("damaged", "not a loadable causal language model"),
    ):
        with pytest.raises(ModelFolderError, match=f"{name}: {fault}") as raised:
            load_policy(tmp_path / name)
        assert "--" not in str(raised.value)


def test_load_policy_refuses_what_is_no_path() -> None:
    """Such as an absent setting, or a variable of a shell that is not set."""
    with pytest.raises(ValueError, match="path is None; give the name of a model folder"):
        load_policy(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="path is ''; give the name of a model folder"):
        load_policy("")
