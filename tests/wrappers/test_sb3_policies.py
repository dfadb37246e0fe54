"""Algorithms of stable-baselines3 on text environments."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.error import CustomSpaceError

import stepopsd_envs  # noqa: F401  # registers the environments
from stepopsd_agent.rollout import play_agent
from stepopsd_agent.tasks.agents import SB3Agent
from stepopsd_wrappers import EpisodeWriter, RecordEpisode, read_episodes, replay
from stepopsd_wrappers.sb3 import (
    AdmissibleActions,
    CandidateScorer,
    EncodeText,
    HashingEncoder,
    SavedModelError,
    load_scorer,
)
from tests.helpers.command_line import refusal, run
from tests.helpers.text_env import TASKS, make_env


def encoded(size: int = 16, writer: EpisodeWriter | None = None) -> EncodeText:
    """The corridor for an algorithm."""
    return EncodeText(
        AdmissibleActions(RecordEpisode(make_env(step_limit=12), writer=writer), 6), f"hashing:{size}"
    )


def skip_without_sb3() -> None:
    """Skip the test that calls this."""
    for package in ("stable_baselines3", "sb3_contrib"):
        pytest.importorskip(package, reason="the extra sb3 is not installed")


def algorithm(name: str, env: Any, **more: Any) -> Any:
    """A small one with the policy that fits."""
    import sb3_contrib
    import stable_baselines3

    from stepopsd_wrappers.sb3 import CandidatePolicy, CandidateQPolicy, MaskableCandidatePolicy

    if name == "DQN":
        kind: Any = stable_baselines3.DQN
        return kind(CandidateQPolicy, env, seed=0, learning_starts=40, buffer_size=500, **more)
    kind = sb3_contrib.MaskablePPO if name == "MaskablePPO" else stable_baselines3.PPO
    policy: Any = MaskableCandidatePolicy if name == "MaskablePPO" else CandidatePolicy
    return kind(policy, env, seed=0, n_steps=32, batch_size=32, **more)


def test_plain_algorithms_name_the_wrapper_that_is_missing() -> None:
    """In one sentence, on the bare environment, by its id, and with half of the wrappers."""
    skip_without_sb3()
    from stable_baselines3 import PPO

    bare = gym.make("stepopsd/ALFWorld-v0", tier="tiny")
    for env in (bare, AdmissibleActions(bare), "stepopsd/ALFWorld-v0", "stepopsd/SearchQA-v0"):
        with pytest.raises(CustomSpaceError, match=r"wrap the environment as EncodeText\(AdmissibleActions"):
            PPO("MlpPolicy", env)
    with pytest.raises(TypeError, match="reads the observations of EncodeText"):
        algorithm("PPO", gym.make("CartPole-v1"))
    PPO("MlpPolicy", encoded(), n_steps=16, batch_size=16).learn(16)  # flat vectors need no policy of ours


@pytest.mark.parametrize("name", ["MaskablePPO", "PPO", "DQN"])
def test_saved_models_play_as_agents(name: str, tmp_path: Path) -> None:
    """Trained on recorded environments, saved, and read without unpickling: the choices are the same."""
    skip_without_sb3()
    from stable_baselines3.common.env_util import make_vec_env

    with EpisodeWriter(tmp_path / "records") as writer:
        envs = make_vec_env(lambda: encoded(writer=writer), n_envs=3, seed=0)
        if name == "MaskablePPO":
            assert envs.has_attr("action_masks") and np.stack(envs.env_method("action_masks")).shape == (3, 6)
        model = algorithm(name, envs)
        model.learn(200)
        envs.close()
    episodes = list(read_episodes(tmp_path / "records"))
    assert len(episodes) > 5 and all(replay(episode).equal for episode in episodes[:3])
    model.save(tmp_path / "model")
    env = RecordEpisode(make_env(step_limit=12))
    played = play_agent(SB3Agent(tmp_path / "model"), env, TASKS, seed=0)
    for episode in played:
        actions, again = [], encoded()
        vector, _ = again.reset(seed=episode.seed, options={"game": episode.task_id})
        over = False
        while not over:
            masks = {"action_masks": again.action_masks()} if name == "MaskablePPO" else {}
            action, _ = model.predict(vector, deterministic=True, **masks)
            vector, _, terminated, truncated, info = again.step(action)
            actions.append(info["step"]["action"])
            over = bool(terminated or truncated)
        assert actions == [step.action for step in episode.steps[1:]]
    drawn = play_agent(SB3Agent(tmp_path / "model", temperature=1.0), env, TASKS, seed=0)
    assert (drawn == played) == (name == "DQN")  # action values are no logits


def test_maskable_ppo_learns_the_corridor() -> None:
    """Where the door is stands in the texts alone; a policy that cannot read walks at random."""
    skip_without_sb3()
    model = algorithm("MaskablePPO", encoded(32), learning_rate=3e-3, n_epochs=8, gamma=0.9)
    model.learn(4000)
    env, won = encoded(32), []
    for seed in range(20):
        vector, _ = env.reset(seed=seed)
        over = False
        while not over:
            action, _ = model.predict(vector, deterministic=True, action_masks=env.action_masks())
            vector, _, terminated, truncated, info = env.step(action)
            over = bool(terminated or truncated)
        won.append(info["won"])
    assert sum(won) >= 18


def test_scorer_does_not_mind_how_many_candidates_and_in_which_order() -> None:
    """A candidate's score is its own; the state is that of the candidates without their repetition."""
    torch.manual_seed(0)
    scorer, encoder = CandidateScorer(8, hidden=16), HashingEncoder(8)
    texts = encoder(["you see a mug", "find the mug", ""]).ravel()
    rows = encoder(["take mug 1", "go to desk 1", "look"])

    def features(order: list[int]) -> torch.Tensor:
        chosen = rows[order]
        parts = [texts, chosen.ravel(), np.zeros_like(chosen).ravel(), np.zeros(len(order), dtype=np.float32)]
        return torch.from_numpy(np.concatenate(parts))[None]

    scores, state = scorer(features([0, 1, 2]))
    again, same = scorer(features([2, 1, 0, 2, 1, 0]))
    assert torch.allclose(again[0, :3].flip(0), scores[0], atol=1e-6) and scores.shape == (1, 3)
    assert torch.allclose(state, same, atol=1e-6) and state.shape == (1, 32)


class Exploit:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("touched"),)


def test_load_scorer_runs_nothing_that_is_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in place of the weights nor beside them."""
    monkeypatch.chdir(tmp_path)
    weights = {f"q_net.scorer.{k}": w for k, w in CandidateScorer(4, 8).state_dict().items()}
    weights["encoder_name"] = torch.tensor(list(b"hashing:4"), dtype=torch.uint8)
    torch.save(weights, "good.pth")
    save("good.zip", Path("good.pth").read_bytes(), data=pickle.dumps(Exploit()))
    scorer, encoder, logits = load_scorer("good")
    assert (scorer.size, scorer.hidden, encoder, logits) == (4, 8, "hashing:4", False)
    torch.save({"w": Exploit()}, "bad.pth")
    bad = Path("bad.pth").read_bytes()
    torch.save({"w": torch.ones(1)}, "other.pth")
    weights["q_net.scorer.state.0.weight"] = torch.ones(5, 5)
    torch.save(weights, "shape.pth")
    cases = {
        "holds more than weights": bad,
        "another policy": Path("other.pth").read_bytes(),
        "damaged": b"no weights",
        "another shape": Path("shape.pth").read_bytes(),
    }
    for message, content in cases.items():
        save("case.zip", content)
        with pytest.raises(SavedModelError, match=message):
            load_scorer("case.zip")
    Path("text.zip").write_text("no archive", encoding="utf-8")
    with pytest.raises(SavedModelError, match="no model that stable-baselines3 saved"):
        load_scorer("text.zip")
    with pytest.raises(FileNotFoundError, match="no such saved model"):
        load_scorer("nowhere")
    assert not Path("touched").exists()


def save(name: str, weights: bytes, data: bytes = b"") -> None:
    """A file as stable-baselines3 saves it."""
    with zipfile.ZipFile(name, "w") as archive:
        archive.writestr("policy.pth", weights)
        archive.writestr("data", data)


def test_commands_play_a_saved_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever ``--agent`` stands, with or without stable-baselines3."""
    monkeypatch.chdir(tmp_path)
    weights = {f"q_net.scorer.{k}": w for k, w in CandidateScorer(4, 8).state_dict().items()}
    weights["encoder_name"] = torch.tensor(list(b"hashing:4"), dtype=torch.uint8)
    torch.save(weights, "weights.pth")
    save("model.zip", Path("weights.pth").read_bytes())
    tiny = ["--env.tier=tiny", "--env.step_limit=4"]
    assert run("eval", "--agent=sb3:model", *tiny, "--eval.num_games=2", "--out=out") == 0
    assert "sb3:model agent: success" in capsys.readouterr().out
    assert run("record", "--agent=sb3:model.zip", *tiny, "--episodes=2", "--out=records") == 0
    assert run("replay", "records") == 0
    assert "no such saved model" in refusal(capsys, "eval", "--agent=sb3:nowhere", *tiny)
    save("model.zip", b"no weights")
    assert "is not loaded" in refusal(capsys, "eval", "--agent=sb3:model", *tiny)
