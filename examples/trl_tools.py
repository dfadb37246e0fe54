"""TRL's own loop of tool calls on these environments, for a model whose chat template has tools.

pip install -c constraints.txt -e '.[trl]'
python examples/trl_tools.py --model Qwen/Qwen3-1.7B --env stepopsd/SearchQA-v0
"""

import argparse

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from stepopsd_agent.adapters import environment_factory, tool_rows
from stepopsd_agent.config import EnvConfig


def main() -> None:
    """Train for some updates and save the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", required=True, help="folder or hub name of the model")
    parser.add_argument("--env", default="stepopsd/ALFWorld-v0", help="Gymnasium id of the environment")
    parser.add_argument("--tier", default="small", help="size of the generated worlds")
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--group", type=int, default=8, help="attempts at one task")
    parser.add_argument("--max-tokens", type=int, default=4096, help="longest episode")
    parser.add_argument("--out", default="runs/trl-tools")
    given = parser.parse_args()
    env = EnvConfig(id=given.env, arguments={"tier": given.tier})
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(given.model, dtype=torch.float32),
        processing_class=AutoTokenizer.from_pretrained(given.model),
        train_dataset=Dataset.from_list(tool_rows(env)),
        environment_factory=environment_factory(env),  # its environments pay the rewards
        args=GRPOConfig(
            output_dir=given.out,
            max_steps=given.updates,
            per_device_train_batch_size=given.group,
            num_generations=given.group,
            max_completion_length=given.max_tokens,
            bf16=torch.cuda.is_available(),
            report_to="none",
            logging_steps=1,
        ),
    )
    trainer.train()
    trainer.save_model(f"{given.out}/model")


if __name__ == "__main__":
    main()
