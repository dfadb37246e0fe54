"""Groups in which every attempt got the same: a teacher that scales advantages has nothing to scale there."""

from torch import Tensor

from stepopsd_agent import ops
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit.base import CreditMethod
from stepopsd_agent.credit.grpo import step_scores


def teacher_rows(method: CreditMethod, batch: Batch) -> Tensor | None:
    """[N] bool, the rows whose teacher can change the method's credit; None where it may be any of them.

    Of a method that claims `teacher_scales` these are the rows of groups in which returns differ, or what
    single steps are charged.
    """
    if "teacher_scales" not in method.claims:
        return None
    group, groups = batch.group_of_step, int(batch.episodes.group_of_episode.max()) + 1
    scores = step_scores(batch, batch.episodes.episode_return.detach())
    differs = scores != ops.group_mean(scores, group, groups)[group]  # equal ones are their mean exactly
    mixed = ops.group_count(group[differs], groups) > 0
    row_step = batch.tokens.step_of_token.amax(1)  # a row is of one episode
    return mixed[group[row_step]]
