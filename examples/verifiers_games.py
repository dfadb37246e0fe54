"""Games and questions as a taskset of verifiers: this module is its plugin, found by its name.

With this folder on PYTHONPATH:

    pip install -e '.[verifiers]'
    vf-eval verifiers_games --env.taskset.env '{"id": "stepopsd/ALFWorld-v0", "tier": "tiny"}' --model NAME
"""

from stepopsd_agent.adapters import verifiers_classes

TextTaskset, TextGameEnv = verifiers_classes()

__all__ = ["TextGameEnv", "TextTaskset"]
