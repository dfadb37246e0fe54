"""Records that are scored without a run: which of a model's tokens stand for the action."""

from dataclasses import replace

import pytest

from stepopsd_agent.config import EnvConfig
from stepopsd_agent.run.scored_records import with_some_tokens
from tests.helpers.models import tiny
from tests.helpers.runs import run_config
from tests.helpers.text_env import make_episode


@pytest.mark.parametrize("settings", [EnvConfig(), EnvConfig(id="stepopsd/SearchQA-v0")])
def test_actions_are_found_in_the_format_of_the_environment_that_was_played(settings: EnvConfig) -> None:
    """A search stands between tags, whatever environment the settings are of."""
    policy, response = tiny(), "<think> so </think> <search> go right </search>"
    played = make_episode(num_steps=1, response=response)
    played = replace(played, steps=tuple(replace(step, tokens=None) for step in played.steps))
    played = replace(played, env_spec={"id": "stepopsd/SearchQA-v0", "kwargs": {}})
    (scored,) = with_some_tokens([played], replace(run_config(), env=settings), policy)
    tokens = scored.steps[1].tokens
    assert tokens is not None
    start, end = tokens.action_span
    found = policy.tokenizer.decode(list(tokens.sampled_ids[start:end]))
    assert isinstance(found, str) and found.strip() == "<search> go right </search>"
    elsewhere = replace(played, env_spec={"id": "someones/Game-v0", "kwargs": {}})
    tokens = with_some_tokens([elsewhere], run_config(), policy)[0].steps[1].tokens
    assert tokens is not None and tokens.action_span == (0, len(tokens.sampled_ids))
