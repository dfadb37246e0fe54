"""Settings that train a tiny model to search and answer, now and then rightly, in seconds."""

from typing import Any

from stepopsd_agent.config import RunConfig, config_from_dict

SEARCH_QA = "stepopsd/SearchQA-v0"
SETTINGS: dict[str, Any] = {
    "updates": 3,
    "threads": 1,
    "checkpoint_every": 2,
    "env": {"id": SEARCH_QA, "tier": "tiny", "task_types": ["1-hop"], "max_turns": 2, "topk": 2},
    "model": {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "vocab_size": 700, "max_positions": 1024},
    "rollout": {"tasks": 2, "group_size": 4, "slots": 8, "max_tokens": 40, "max_row_tokens": 768},
    "hindsight": {"position": "prefix", "max_peer_tokens": 48},
    "eval": {"num_questions": 4, "temperature": 1.0},
    "warmstart": {"demonstrations": 400, "passes": 2, "batch_rows": 2, "lr": 4e-3, "muon_lr": 0.05},
}


def search_run_config(**sections: Any) -> RunConfig:
    """`SETTINGS`, with some changed; those of a section as a dictionary."""
    merged = {
        name: {**SETTINGS.get(name, {}), **value} if isinstance(value, dict) else value
        for name, value in {**SETTINGS, **sections}.items()
    }
    return config_from_dict(merged)


def search_flags() -> list[str]:
    """`SETTINGS` as a command line."""
    flags = []
    for name, value in SETTINGS.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        flags += [f"--{name}{'.' if key else ''}{key}={setting}" for key, setting in inner]
    return flags
