"""The examples for other trainers run: in short, with small models, as a user would start them."""

import asyncio
import json
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from stepopsd_agent.models import load_policy

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
pytestmark = [pytest.mark.samples, pytest.mark.filterwarnings("ignore")]
SHORTER = {
    '{"tier": "tiny"}': '{"tier": "tiny", "num_games": 1, "step_limit": 8}',
    "max_steps=50": "max_steps=1",
    "device_train_batch_size=16": "device_train_batch_size=8",
    "accumulation_steps=2": "accumulation_steps=1",
}


def test_trl_credit_example_trains(
    taught_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As written, but for one update on the one game that the model knows; what it saves can be loaded."""
    for package in ("trl", "datasets"):
        pytest.importorskip(package, reason="the extra trl is not installed")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "warm").symlink_to(taught_model)
    monkeypatch.chdir(tmp_path)
    code = (EXAMPLES / "trl_credit.py").read_text(encoding="utf-8")
    for whole, part in SHORTER.items():
        assert whole in code, f"the example no longer has {whole!r}"
        code = code.replace(whole, part)
    exec(compile(code, "trl_credit.py", "exec"), {"__name__": "example"})
    load_policy(tmp_path / "runs" / "trl" / "model")


def test_trl_tools_example_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a model that has seen tool calls."""
    for package in ("trl", "datasets"):
        pytest.importorskip(package, reason="the extra trl is not installed")
    from tests.agent.adapters.test_trl_tools import GAMES, game_calls, taught

    taught(GAMES, game_calls, 40).save(tmp_path / "model")
    flags = ["--tier=tiny", "--updates=1", "--group=2", "--max-tokens=200", f"--out={tmp_path / 'out'}"]
    monkeypatch.setattr(sys, "argv", ["trl_tools", f"--model={tmp_path / 'model'}", *flags])
    runpy.run_path(str(EXAMPLES / "trl_tools.py"), run_name="__main__")
    assert (tmp_path / "out" / "model" / "config.json").is_file()


def test_verl_example_writes_what_verl_reads(
    taught_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its settings are verl's, its data set reads the rows, and its worker plays them."""
    pytest.importorskip("verl", reason="the extra verl is not installed")
    import numpy as np
    import verl
    from hydra import compose, initialize_config_dir
    from verl import DataProto
    from verl.experimental.agent_loop.agent_loop import AgentLoopWorker
    from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn

    from tests.agent.adapters.test_verl_loop import Server, for_verl

    model = for_verl(load_policy(taught_model), tmp_path / "model")
    out = tmp_path / "out"
    flags = [f"--model={model}", "--method=rloo", "--tier=tiny", f"--out={out}"]
    monkeypatch.setattr(sys, "argv", ["verl_agent_loop", *flags])
    runpy.run_path(str(EXAMPLES / "verl_agent_loop.py"), run_name="__main__")
    words = shlex.split(capsys.readouterr().out)
    assert words[:4] == [words[0], "python", "-m", "verl.trainer.main_ppo"]
    settings = Path(verl.__file__).parent / "trainer" / "config"
    short = ["actor_rollout_ref.rollout.response_length=200"]
    with initialize_config_dir(config_dir=str(settings), version_base=None):
        config = compose("ppo_trainer", overrides=[*words[4:], *short])
    assert config.algorithm.adv_estimator == "stepopsd_rloo"
    loops = json.loads((out / "loops.yaml").read_text(encoding="utf-8"))
    assert [loop["name"] for loop in loops] == ["alfworld_train", "alfworld_test"]
    data = {"cache_dir": str(tmp_path / "cache"), "filter_overlong_prompts": False}
    tokenizer = load_policy(model).tokenizer
    for name in ("train", "test"):
        rows = RLHFDataset(str(out / f"{name}.jsonl"), tokenizer, config=_config(data))
        batch = collate_fn([rows[0], rows[1]])
        arrays = {key: value for key, value in batch.items() if isinstance(value, np.ndarray)}
        worker = AgentLoopWorker(config, Server(load_policy(model)))
        played = asyncio.run(worker.generate_sequences(DataProto(non_tensor_batch=arrays)))
        assert played.batch["response_mask"].sum(1).min() > 0
        assert [task.split("/")[2] for task in played.non_tensor_batch["task_id"]] == [name, name]


def _config(settings: dict[str, object]) -> object:
    """The same as verl takes it."""
    from omegaconf import OmegaConf

    return OmegaConf.create(settings)
