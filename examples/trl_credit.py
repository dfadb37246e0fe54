"""TRL's `GRPOTrainer` on the credit of each token: this project plays the games, TRL updates the model.

It continues the model of a warm start; the extra `trl` installs TRL:

    pip install -c constraints.txt -e '.[trl]'
    stepopsd warmstart --config alfworld_quickstart --env.tier tiny --out runs/warm
    python examples/trl_credit.py
"""

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from stepopsd_agent.adapters import Crediting, StepCredit, TRLRollouts
from stepopsd_agent.config import EnvConfig
from stepopsd_agent.rollout import SamplingParams


class Trainer(StepCredit, GRPOTrainer):  # type: ignore[misc]
    """TRL's trainer, whose loss takes the advantages of a credit method."""


games = EnvConfig(arguments={"tier": "tiny"})  # or EnvConfig(id="stepopsd/SearchQA-v0", response="search")
crediting = Crediting("step_opsd", decay_updates=50)
rollouts = TRLRollouts(games, crediting, SamplingParams(max_tokens=16))
trainer = Trainer(
    rollouts=rollouts,
    model=AutoModelForCausalLM.from_pretrained("runs/warm", dtype=torch.float32),
    processing_class=AutoTokenizer.from_pretrained("runs/warm"),
    train_dataset=Dataset.from_list(rollouts.rows()),
    args=GRPOConfig(
        output_dir="runs/trl",
        max_steps=50,
        per_device_train_batch_size=16,
        gradient_accumulation_steps=2,
        num_generations=8,
        learning_rate=1e-5,
        temperature=1.0,
        bf16=torch.cuda.is_available(),
        report_to="none",
        logging_steps=1,
    ),
)
trainer.train()
trainer.save_model("runs/trl/model")
