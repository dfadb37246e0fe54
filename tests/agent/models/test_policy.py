"""The policy: tokenising, scoring, saving and loading."""

from pathlib import Path

import pytest
import torch

from stepopsd_agent.config import ModelConfig
from stepopsd_agent.models import ModelFolderError, load_policy, tiny_policy
from tests.helpers.models import TEXTS, tiny


@pytest.mark.parametrize("text", [TEXTS[0], "", "naïve café ✓\n\t", "  two  blanks "])
def test_policy_decode_inverts_encode(text: str) -> None:
    """Ids give back the text they came from, whatever the characters."""
    policy = tiny()
    assert policy.decode(policy.encode([text])[0]) == text


def test_policy_encode_accepts_lone_surrogates() -> None:
    """Text that UTF-8 cannot hold is replaced, not fatal."""
    assert tiny().encode(["a\ud800b"])[0]


def test_policy_logprobs_match_full_softmax() -> None:
    """Scoring selected positions equals the model's own output at every position."""
    policy = tiny("float64")
    ids = torch.randint(1, 300, (3, 20), generator=torch.Generator().manual_seed(0))
    select = torch.zeros(3, 20, dtype=torch.bool)
    select[:, 3::2] = True
    with torch.inference_mode():
        got = policy.token_logprobs(ids, select, temperature=0.7)
        full = torch.log_softmax(policy.model(ids).logits / 0.7, -1)[:, :-1].gather(2, ids[:, 1:, None])[
            ..., 0
        ]
    torch.testing.assert_close(got[:, 1:][select[:, 1:]], full[select[:, 1:]])
    assert not got[~select].any()


def test_policy_logprobs_refuse_first_column() -> None:
    """Nothing stands before the first token, so it has no conditional probability."""
    with pytest.raises(ValueError, match="first token"):
        tiny().token_logprobs(torch.ones(1, 3, dtype=torch.long), torch.ones(1, 3, dtype=torch.bool))


def test_policy_weights_are_put_back() -> None:
    """Scoring with a teacher's weights leaves the student's as they were, also after an error."""
    student, teacher = tiny(seed=0), tiny(seed=1).state()
    before = student.state()
    with pytest.raises(RuntimeError), student.weights(teacher):
        assert all(torch.equal(student.state()[k], teacher[k]) for k in teacher)
        raise RuntimeError
    assert all(torch.equal(student.state()[k], before[k]) for k in before)


def test_policy_save_and_load_keep_weights_and_tokenizer(tmp_path: Path) -> None:
    """A saved folder gives the same model and the same ids."""
    policy = tiny()
    policy.save(tmp_path)
    again = load_policy(tmp_path)
    assert again.encode([TEXTS[0]]) == policy.encode([TEXTS[0]])
    assert again.stop_ids == policy.stop_ids
    assert all(torch.equal(value, policy.state()[name]) for name, value in again.state().items())
    assert not list(tmp_path.glob("*.bin")) + list(tmp_path.glob("*.pt"))  # safetensors only


def test_load_policy_without_tokenizer_names_the_folder(tmp_path: Path) -> None:
    """A model folder without a tokenizer is one clear error."""
    tiny().save(tmp_path)
    for file in tmp_path.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelFolderError, match=r"no tokenizer.*tokenizer\.json"):
        load_policy(tmp_path)


def test_load_policy_of_an_empty_folder_names_it(tmp_path: Path) -> None:
    """Not a model at all."""
    with pytest.raises(ModelFolderError, match=str(tmp_path)):
        load_policy(tmp_path)


def test_tiny_policy_depends_on_its_seed_alone() -> None:
    """Equal seeds give equal weights, whatever the global generator does."""
    torch.manual_seed(5)
    first = tiny(seed=3).state()
    torch.manual_seed(6)
    second, other = tiny(seed=3).state(), tiny(seed=4).state()
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert not all(torch.equal(first[k], other[k]) for k in first)


def test_tiny_policy_begins_by_looking_for_equal_tokens() -> None:
    """Untrained, some head of every layer gives the earlier copy of a token far more weight than the rest."""
    policy = tiny_policy(TEXTS, ModelConfig(hidden_size=64, num_layers=2, num_heads=4), "cpu", 0)
    ids = torch.arange(10, 60)
    ids[45] = ids[20]  # a name of the task, seen again in a list
    policy.model.set_attn_implementation("eager")
    with torch.inference_mode():
        layers = policy.model(ids[None], output_attentions=True).attentions
    for attention in layers:  # (1, heads, T, T)
        others = torch.cat([attention[0, :, 45, :20], attention[0, :, 45, 21:45]], dim=1)
        assert bool((attention[0, :, 45, 20] > 5 * others.amax(1)).any())
