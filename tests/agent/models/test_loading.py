"""A model folder is checked when it is loaded."""

from pathlib import Path

import pytest

from stepopsd_agent.models import ModelFolderError, Policy, load_policy
from tests.agent.models.test_self_check import NO_SYSTEM, random_policy


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
    with pytest.raises(ModelFolderError, match=r"scoring gives.*\. And the chat template refuses"):
        load_policy(folder, system="Be brief.")
    assert load_policy(folder, checked=False).prompt_format.chat
