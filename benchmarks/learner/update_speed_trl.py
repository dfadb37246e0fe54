"""TRL's side of `update_speed`; it runs in a Python with TRL and reads its settings from a JSON file.

``python -m benchmarks.learner.update_speed_trl SETTINGS.json`` trains for some updates with `GRPOTrainer` and
writes the figures to the file named in the settings. There are two ways: "environment_factory" is TRL's own
loop, where the command is a tool call and the model is cloned on this format; "rollout_func" is written by
hand, with the plain format, and generates each turn for all running episodes at once with `generate`.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from benchmarks.learner.update_speed_tools import HouseEnv, tool_model
from stepopsd_agent.config import RunConfig, config_from_dict
from stepopsd_agent.tasks import make_stack

TURN_TOKENS = 48
"""Longest tool call; a command is at most a quarter of it."""
COMPLETION_TOKENS = 3072
"""Room for a whole episode, so that none is truncated."""


class Laps(TrainerCallback):
    """Records the CPU time at the end of every update."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def on_step_end(self, *arguments: Any, **more: Any) -> None:
        """Record the CPU time."""
        self.at.append(time.process_time())


class Counted(GRPOTrainer):  # type: ignore[misc]
    """Counts the sampled tokens, and those in tool calls that were executed."""

    sampled = 0
    played = 0

    def _generate_single_turn(self, *arguments: Any, **more: Any) -> Any:
        answers = super()._generate_single_turn(*arguments, **more)
        self.sampled += sum(map(len, answers[0]))
        return answers

    def _tool_call_loop(self, *arguments: Any, **more: Any) -> Any:
        found = super()._tool_call_loop(*arguments, **more)
        for mask, messages in zip(found[0], found[1], strict=True):
            runs = "".join(map(str, mask)).replace("0", " ").split()  # one run per assistant message
            asked = [k for k, message in enumerate(messages) if message["role"] == "assistant"]
            for run, k in zip(runs, asked, strict=False):
                answer = messages[k + 1]["content"] if k + 1 < len(messages) else "error"
                self.played += 0 if "error" in answer else len(run)
        return found


def train(settings: dict[str, Any], folder: Path, **arguments: Any) -> dict[str, Any]:
    """Train with TRL; return the seconds of each update and the counts of sampled tokens."""
    c = settings["config"]
    per_device, group = settings["micro_batch_rows"], c["rollout"]["group_size"]
    args = GRPOConfig(
        output_dir=str(folder / "out"),
        max_steps=settings["updates"],
        per_device_train_batch_size=per_device,
        gradient_accumulation_steps=c["rollout"]["tasks"] * group // per_device,
        num_generations=group,
        max_completion_length=COMPLETION_TOKENS,
        max_tool_calling_iterations=c["env"]["step_limit"],
        generation_kwargs={"max_new_tokens": TURN_TOKENS},
        temperature=c["rollout"]["temperature"],
        learning_rate=c["learner"]["lr"],
        lr_scheduler_type="constant",
        beta=0.0,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        shuffle_dataset=False,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    laps, rows = Laps(), settings["tasks"]
    trainer = Counted(
        model=AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32),
        processing_class=AutoTokenizer.from_pretrained(folder / "model"),
        args=args,
        train_dataset=Dataset.from_list(rows),
        callbacks=[laps],
        **arguments,
    )
    trainer.train()
    seconds = [end - begin for begin, end in zip(laps.at, laps.at[1:], strict=False)]
    return {"seconds": seconds, "sampled": trainer.sampled, "played": trainer.played}


def with_environment_factory(settings: dict[str, Any], config: RunConfig, folder: Path) -> dict[str, Any]:
    """Measure TRL's own loop."""
    tool_model(settings, config, folder)
    HouseEnv.config = config
    steps: list[int] = []

    def won(environments: list[HouseEnv], **columns: Any) -> list[float]:
        steps.extend(env.steps for env in environments)
        return [float(env.won) for env in environments]

    rows = [{**row, "prompt": [{"role": "user", "content": ""}]} for row in settings["tasks"]]
    found = train({**settings, "tasks": rows}, folder, reward_funcs=won, environment_factory=HouseEnv)
    return {**found, "steps": sum(steps), "episodes": len(steps)}


def with_rollout_func(settings: dict[str, Any], config: RunConfig, folder: Path) -> dict[str, Any]:
    """Measure TRL's trainer with a hand-written rollout in the plain format."""
    tasks = {row["prompt"]: row for row in settings["tasks"]}
    counts = {"steps": 0, "episodes": 0, "sampled": 0}
    envs = [make_stack(config.env) for _ in range(config.rollout.tasks * config.rollout.group_size)]

    def play(prompts: list[str], trainer: GRPOTrainer) -> dict[str, Any]:
        rows = Rows(trainer, config)
        won = [0.0] * len(prompts)
        for k, prompt in enumerate(prompts):
            task = tasks[prompt]
            text, _ = envs[k].reset(seed=task["seed"], options={"game": task["task_id"]})
            rows.begin(text)
        running = list(range(len(prompts)))
        while running:
            responses = rows.respond(running)
            counts["steps"] += len(running)
            left = []
            for k, response in zip(running, responses, strict=True):
                text, _, terminated, truncated, info = envs[k].step(response)
                won[k] = float(info["won"])
                if not (terminated or truncated) and rows.read(k, text):
                    left.append(k)
            running = left
        counts["episodes"] += len(prompts)
        counts["sampled"] += rows.sampled
        return {**rows.columns(), "won": won}

    def reward(won: list[float], **columns: Any) -> list[float]:
        return won

    found = train(settings, folder, reward_funcs=reward, rollout_func=play)
    return {**found, **counts, "played": counts["sampled"]}


class Rows:
    """Prompts and completions of the episodes of one update."""

    def __init__(self, trainer: GRPOTrainer, config: RunConfig) -> None:
        self.model = trainer.accelerator.unwrap_model(trainer.model)
        self.tokenizer, self.config = trainer.processing_class, config
        self.prompts: list[list[int]] = []
        self.completions: list[list[int]] = []
        self.masks: list[list[int]] = []
        self.shown: list[str] = []
        self.sampled = 0

    def begin(self, text: str) -> None:
        """Begin an episode."""
        self.prompts.append(self.tokenizer.encode(text, add_special_tokens=False))
        self.completions.append([])
        self.masks.append([])
        self.shown.append(text)

    def respond(self, chosen: list[int]) -> list[str]:
        """Sample a response for each of these episodes from its whole text."""
        ids = [self.prompts[k] + self.completions[k] for k in chosen]
        width = max(map(len, ids))
        pad, end = self.tokenizer.pad_token_id, self.tokenizer.eos_token_id
        padded = torch.tensor([[pad] * (width - len(row)) + row for row in ids])
        real = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids])
        with torch.no_grad():
            out = self.model.generate(
                input_ids=padded,
                attention_mask=real,
                do_sample=True,
                temperature=self.config.rollout.temperature,
                top_k=0,
                top_p=1.0,
                max_new_tokens=self.config.rollout.max_tokens,
                eos_token_id=end,
                pad_token_id=pad,
            )[:, width:].tolist()
        responses = []
        for k, row in zip(chosen, out, strict=True):
            new = row[: row.index(end) + 1] if end in row else row
            self.completions[k] += new
            self.masks[k] += [1] * len(new)
            self.sampled += len(new)
            responses.append(self.tokenizer.decode(new, skip_special_tokens=True))
            self.shown[k] += responses[-1]
        return responses

    def read(self, k: int, text: str) -> bool:
        """Add an observation to an episode; return False if the row has no room for another response."""
        new = self.tokenizer.encode(text[len(self.shown[k]) :], add_special_tokens=False)
        self.completions[k] += new
        self.masks[k] += [0] * len(new)
        self.shown[k] = text
        length = len(self.prompts[k]) + len(self.completions[k])
        return length + self.config.rollout.max_tokens < self.config.rollout.max_row_tokens

    def columns(self) -> dict[str, Any]:
        """The columns of a rollout in TRL's format."""
        return {
            "prompt_ids": self.prompts,
            "completion_ids": self.completions,
            "env_mask": self.masks,
            "logprobs": None,
        }


def main() -> int:
    """Read the settings, measure, write the figures."""
    settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(1)
    config = config_from_dict(settings["config"])
    with tempfile.TemporaryDirectory() as temporary:
        if settings["way"] == "rollout_func":
            figures = with_rollout_func(settings, config, Path(settings["folder"]))
        else:
            figures = with_environment_factory(settings, config, Path(temporary))
    Path(settings["out"]).write_text(json.dumps(figures), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
