"""The summary of a run: settings, results, consumption, provenance; and the data it is evaluated on."""

from contextlib import closing
from typing import TYPE_CHECKING, Any

from stepopsd_agent.config import RunConfig
from stepopsd_agent.rollout import headline, joined
from stepopsd_agent.run.provenance import environment_facts
from stepopsd_agent.tasks import data_identity, evaluation_sets, make_stack

if TYPE_CHECKING:
    from stepopsd_agent.run.run import Run


def summarise(run: "Run", method_name: str) -> dict[str, Any]:
    """What `summary.json` holds, of a run that trained with a credit method."""
    order = sorted(run.evaluations, key=int)
    first, last = run.evaluations[order[0]], run.evaluations[order[-1]]
    counters = vars(run.trainer.counters)
    return {
        "schema": "stepopsd.summary/1",
        "method": method_name,
        "seed": run.trainer.config.seed,
        "updates": run.trainer.update,
        "start": headline(first),
        "final": headline(last),
        "by_task_type": {"start": first["by_task_type"], "final": last["by_task_type"]},
        "env_steps": counters["env_steps"],
        "errors": counters["errors"],
        "alarms": [{"update": alarm.update, "alarm": str(alarm)} for alarm in run.alarms.raised],
        "tokens": {k: counters[k] for k in ("generated", "scored", "trained", "wasted")},
        "wall_s": round(run.wall_s, 1),
        **run.data,
        **environment_facts(),
    }


def evaluated_data(config: RunConfig) -> str:
    """Fingerprint of all that evaluation draws from."""
    fingerprints = []
    for evaluation in evaluation_sets(config):
        with closing(make_stack(evaluation.env)) as env:
            fingerprints.append(data_identity(env)["fingerprint"])
    return joined(fingerprints)
