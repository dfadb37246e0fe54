"""Commands of recorded states: their Q from the oracle, the signals, and the command that compares them."""

import json
from dataclasses import fields, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.credit import qval
from benchmarks.credit.choices import Place, choice, chosen_places, oracle_env
from benchmarks.credit.sets import SETS, folder
from benchmarks.credit.signals import (
    command_logprobs,
    mean_return,
    model_signals,
    path_values,
    row_before,
    with_block,
)
from benchmarks.report.credit import within_state
from stepopsd_agent import credit
from stepopsd_agent.accuracy import spearman
from stepopsd_agent.batch import collate
from stepopsd_agent.config import EnvConfig
from stepopsd_agent.hindsight import batch_logprobs
from stepopsd_agent.models import Policy, Scorer
from stepopsd_agent.rollout import play_agent
from stepopsd_agent.run.files import save_model
from stepopsd_agent.tasks import make_plain_env, task_ids
from stepopsd_agent.tasks.agents import Agent, OracleAgent, RandomAgent
from stepopsd_wrappers import Episode, EpisodeWriter, Step, StepTokens
from tests.helpers.models import tiny

ENV: EnvConfig = SETS["small"].settings().env.changed(**SETS["small"].truth, **SETS["small"].test)


@cache
def policy() -> Policy:
    """Knows nothing."""
    return tiny()


def sampled(episode: Episode) -> Episode:
    """The record with the tokens that a policy would have had for these commands."""
    form, steps, before = policy().prompt_format, [episode.steps[0]], episode.steps[0].observation
    for index, step in enumerate(episode.steps[1:]):
        prompt = form.turn_ids(f"\n{before}\n> ", True) if index else form.first_ids(f"{before}\n> ")
        ids = form.response_ids(step.action)
        tokens = StepTokens(tuple(prompt), tuple(ids), (-1.0,) * len(ids), not index, (0, len(ids)))
        steps.append(replace(step, tokens=tokens))
        before = step.observation
    return replace(episode, steps=tuple(steps))


@cache
def group(number: int = 0) -> list[Episode]:
    """The oracle's attempt at a game and three random ones."""
    env = make_plain_env(ENV)
    task = task_ids(env)[number]
    agents: list[Agent] = [OracleAgent(env), RandomAgent(), RandomAgent(), RandomAgent()]
    played = [play_agent(agent, env, [task], 5)[0] for agent in agents]
    return [sampled(replace(one, group=number, member=n)) for n, one in enumerate(played)]


def bare(group: int, member: int, steps: int, won: bool) -> Episode:
    """A record of nothing but its length and outcome."""
    told = [Step("", "", "", 0.0, False, False, {"won": won}) for _ in range(steps + 1)]
    return Episode("", 0, group, member, "task", 0, {}, "", tuple(told))


def test_states_come_from_lost_and_won_episodes_of_mixed_groups() -> None:
    """In turn, none twice, and all there are at most."""
    mixed = [bare(n, m, 3, won=bool(m)) for n in range(4) for m in range(2)]
    other = [bare(9, m, 3, won=True) for m in range(2)]
    few = chosen_places([*mixed, *other], 8, seed=0)
    assert [place.episode.success for place in few] == [False, True] * 4
    assert {place.episode.group for place in few} == {0, 1, 2, 3}
    everything = chosen_places([*mixed, *other], 99, seed=0)
    assert len({(p.episode.group, p.episode.member, p.index) for p in everything}) == 4 * 2 * 3


def test_the_best_commands_have_the_largest_q() -> None:
    """As the oracle names them, in every state of its attempt; and Q of the best is 0.95^(d - 1)."""
    won, env = group()[0], oracle_env(ENV)
    for index in range(1, len(won.steps)):
        found = choice(env, Place(won, index), 0.95)
        left = len(won.steps) - 1 - index
        assert found.q.max() == pytest.approx(0.95**left) and found.in_time
        env.reset(seed=won.seed, options={"game": won.task_id})
        for step in won.steps[1:index]:
            env.step(step.action)
        best = {command for command, q in zip(found.commands, found.q, strict=True) if q == found.q.max()}
        assert best == set(env.oracle.best_commands())  # type: ignore[attr-defined]


def test_a_goal_behind_the_limit_of_steps_is_noted() -> None:
    """Before the last step of a lost episode nothing wins any more, yet commands differ in Q."""
    lost = next(one for one in group() if not one.success)
    found = choice(oracle_env(ENV), Place(lost, len(lost.steps) - 1), 0.95)
    assert not found.in_time and len(set(found.q)) > 1


def test_another_state_than_recorded_is_refused() -> None:
    """A record whose commands were changed."""
    won = group()[0]
    steps = (won.steps[0], replace(won.steps[1], action="look"), *won.steps[2:])
    with pytest.raises(RuntimeError, match="another state"):
        choice(oracle_env(ENV), Place(replace(won, steps=steps), 2), 0.95)


def test_worlds_without_commands_are_refused() -> None:
    """Search-QA has an oracle, and no list of commands."""
    with pytest.raises(ValueError, match="household"):
        oracle_env(SETS["searchqa"].settings().env)


def test_log_probabilities_are_those_of_the_batch() -> None:
    """Of the command that was taken, in the row's own context and behind hindsight in both positions."""
    members, scorer = group(), Scorer(policy())
    batch, block = collate(members), policy().encode(["This attempt ended in failure.\n"])[0]
    for position in ("prefix", "inline"):
        blocks = [block] * len(members) if position == "prefix" else [[] for _ in members]
        expected = batch_logprobs(scorer, batch, blocks, "prefix")
        for step in (0, 2, batch.num_steps - 1):
            episode = members[int(batch.steps.episode_of_step[step])]
            place = Place(episode, int(batch.steps.index_in_episode[step]))
            row = row_before(place)
            ids = with_block(row, block, "prefix") if position == "prefix" else row[0]
            response = policy().prompt_format.response_ids(episode.steps[place.index].action)
            (found,) = command_logprobs(scorer, [ids], [[response]])
            total = float(expected[batch.tokens.step_of_token == step].sum())
            assert found.tolist() == pytest.approx([total], abs=1e-4)
    assert with_block(([1, 2, 3], 1), [9], "inline") == [1, 2, 3, 9]


def test_the_gap_is_teacher_less_policy() -> None:
    """For every command, as a sum over its tokens and as their mean."""
    members = group()
    found = choice(oracle_env(ENV), Place(members[0], 1), 0.95)
    hindsight = SETS["small"].settings().hindsight
    signals = model_signals(policy(), Scorer(policy()), hindsight, {0: members}, [found])
    gap = signals["teacher's log-probability"][0] - signals["policy's log-probability"][0]
    sizes = np.array([len(policy().prompt_format.response_ids(text)) for text in found.commands])
    assert signals["hindsight gap"][0].tolist() == pytest.approx(gap.tolist())
    assert signals["hindsight gap, per token"][0].tolist() == pytest.approx((gap / sizes).tolist())
    assert np.abs(gap).max() > 0


def test_gains_on_the_graph_are_worked_by_hand() -> None:
    """Along the oracle's n steps the way is n - t steps long at place t, if nobody found a shorter one.

    A step of it gains 0.95^(n - t - 1) - 0.95^(n - t); a command that nobody gave there gains 0; one that
    left the place as it was costs a tenth of 1 - 0.95, as in `path_gain`, and nothing without a path.
    """
    won = group()[0]
    graph, env, n = path_values([won], "text", inferred=False), oracle_env(ENV), len(won.steps) - 1
    for index in range(1, n + 1):
        found = choice(env, Place(won, index), 0.95)
        gains, known = graph.gains(found)
        taken = found.commands.index(won.steps[index].action)
        assert gains[taken] == pytest.approx(0.95 ** (n - index) - 0.95 ** (n - index + 1))
        assert known[taken] == 1 and known.sum() == 1 and np.abs(np.delete(gains, taken)).max() == 0
        assert (spearman(gains, found.q) or 0) > 0
    looked = replace(
        won, member=1, steps=(won.steps[0], replace(won.steps[1], action="look", info=won.steps[0].info))
    )
    assert path_values([won, looked], "text", inferred=False).gains(choice(env, Place(won, 1), 0.95))[0][
        choice(env, Place(won, 1), 0.95).commands.index("look")
    ] == pytest.approx(-0.005)
    own = {field.name: field.default for field in fields(credit.load("path_gain"))}
    assert path_values.__kwdefaults__ == {"gamma": own["gamma"], "idle_cost": own["idle_cost"]}
    lost = replace(looked, steps=(*looked.steps[:-1], replace(looked.steps[-1], info=looked.steps[0].info)))
    found = choice(env, Place(lost, 1), 0.95)
    gains, known = path_values([lost], "text", inferred=False).gains(found)
    assert known.sum() == 1 and gains.tolist() == [0.0] * len(found.commands)


def test_inferred_transitions_cover_more_commands() -> None:
    """What was seen elsewhere in the group; what was seen at the place itself stays."""
    members, env = group(), oracle_env(ENV)
    found = [choice(env, place, 0.95) for place in chosen_places(members, 12, seed=0)]
    walked, learned = (path_values(members, "text", inferred=inferred) for inferred in (False, True))
    shares = [sum(graph.gains(one)[1].sum() for one in found) for graph in (walked, learned)]
    assert shares[1] > shares[0] > 0
    assert walked.led.items() <= learned.led.items()


def test_mean_returns_are_worked_by_hand() -> None:
    """A place on the way of one success alone is worth 0.95 for every step to its end."""
    won = group()[0]
    graph, n = mean_return([won], "text"), len(won.steps) - 1
    for index in range(1, n + 1):
        key = graph.keys[won.member, index]
        assert graph.values[key] == pytest.approx(0.95 ** (n - index + 1))
    assert max(graph.values.values()) == 1.0


def test_signals_of_a_recording_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From recorded groups to the page; the oracle's own Q is ranked perfectly."""
    torch.manual_seed(0)
    out, result = tmp_path / "recordings", tmp_path / "qval.json"
    save_model(policy(), folder(out, "small", "end"))
    with EpisodeWriter(folder(out, "small", "end", "test") / "episodes") as writer:
        for episode in [*group(0), *group(1)]:
            writer.append(episode)
    arguments = ["--out", str(out), "--stage", "end", "--states", "4", "--json", str(result)]
    monkeypatch.setattr("sys.argv", ["qval", *arguments])
    assert qval.main() == 0
    assert "[oracle's Q]" in capsys.readouterr().out
    found = json.loads(result.read_text())
    table = found["stages"]["end"]
    assert (table["states"], table["tasks"]) == (4, 2)
    assert table["signals"]["oracle's Q"]["all"]["value"] == pytest.approx(1.0)
    assert all(-1 <= row["lost"]["value"] <= 1 for row in table["signals"].values())
    page = "\n".join(within_state(found))
    assert "*control: oracle's Q*" in page and "| prompted ranking | 0.46 ±0.14 |" in page
