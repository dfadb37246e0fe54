"""The settings that ``--help`` shows; ``--help-all`` shows them all, and every one is taken either way."""

BASIC = frozenset(
    """
    seed updates device
    model.path
    env.id env.games env.tier env.num_games env.step_limit
    env.questions env.retriever env.num_questions env.max_turns
    rollout.tasks rollout.group_size rollout.temperature rollout.max_tokens
    hindsight.mode
    learner.lr
    warmstart.demonstrations warmstart.passes warmstart.lr
    eval.every eval.games eval.num_games eval.questions eval.num_questions eval.temperature
    openai.url openai.model
    credit.method credit.lambda_mix credit.alpha_clip
    """.split()
)
"""Those that a first run is likely to change; where an environment or method lacks one, it is not shown."""
ALL = "--help-all"

OF_TRAINING = frozenset(
    """
    rollout.tasks rollout.group_size rollout.ahead rollout.temperature rollout.top_k rollout.top_p
    rollout.invalid_penalty rollout.invalid_penalty_on rollout.anchor_similarity rollout.max_rounds
    rollout.revisit_share rollout.revisit_after rollout.mc_rollouts
    """.split()
)
"""Settings of playing that only training reads."""
