"""The states that Monte-Carlo values are of, where prompts do not tell them apart."""

from dataclasses import replace

import pytest

from stepopsd_agent.batch import collate
from stepopsd_agent.learner import monte_carlo_values
from stepopsd_agent.tasks import make_stack
from tests.agent.learner.test_columns import begun, fresh_attempts, played
from tests.helpers.runs import run_config, taught


@pytest.mark.samples
def test_monte_carlo_values_are_of_the_steps_own_state_where_prompts_are_alike() -> None:
    """A window shows the last steps alone: one prompt may stand before steps in different worlds."""
    policy = taught()
    alike = [
        replace(
            episode,
            steps=tuple(
                replace(step, tokens=step.tokens and replace(step.tokens, prompt_ids=(0,), new_row=True))
                for step in episode.steps
            ),
        )
        for episode in played(policy, members=2)
    ]
    batch = collate(alike, pad_id=policy.pad_id)
    envs = [make_stack(run_config().env) for _ in range(4)]
    _, attempts, _ = monte_carlo_values(policy, envs, alike, batch, fresh_attempts(1))
    begins = [begun(attempt)[0] for attempt in attempts]
    worlds = [
        (index, attempt.steps[index - 1].info["step"]["state"])
        for index, attempt in zip(begins, attempts, strict=True)
    ]
    acted_in = [
        (index, step.info["step"]["state"])
        for episode in alike
        for index, step in enumerate(episode.steps[:-1], start=1)
    ]
    assert len(worlds) == len(set(worlds)) and set(worlds) == set(acted_in)
