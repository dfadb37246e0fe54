"""The settings that ``--help`` shows; ``--help-all`` shows them all, and every one is taken either way."""

BASIC = {
    "config": "YAML file of settings; flags win over it",
    "print_config": "print the settings, and stop",
    "seed": "everything random follows from it",
    "updates": "policy updates",
    "device": "cpu, cuda or cuda:N",
    "model.path": "folder or hub name; tiny: a fresh one",
    "env.id": "Gymnasium id, or module:id",
    "env.games": "a split, a folder or file, or a list",
    "env.tier": "of generated games: tiny, small, full",
    "env.num_games": "play only the first so many games",
    "env.step_limit": "steps until an episode is truncated",
    "env.questions": "a file, a data set, or a list",
    "env.retriever": "what searches the passages",
    "env.num_questions": "ask only the first so many questions",
    "env.max_turns": "turns until an episode is truncated",
    "rollout.tasks": "different tasks per update (groups)",
    "rollout.group_size": "attempts per task",
    "rollout.temperature": "of sampling in training",
    "rollout.max_tokens": "longest response, in tokens",
    "hindsight.mode": "none, correctness, peer, correctness+peer or more",
    "learner.lr": "AdamW learning rate",
    "warmstart.demonstrations": "expert episodes to clone",
    "warmstart.passes": "passes over them",
    "warmstart.lr": "peak learning rate of AdamW",
    "eval.every": "updates between evaluations; 0: start, end",
    "eval.games": "like env.games, a table for each",
    "eval.num_games": "games per evaluation",
    "eval.questions": "like env.questions, a table for each",
    "eval.num_questions": "questions per evaluation",
    "eval.temperature": "of sampling; 0 takes the likeliest token",
    "openai.url": "base URL of the API",
    "openai.model": "if absent, the only one that the server lists",
    "credit.method": "see stepopsd credit list; or module:name",
    "credit.lambda_mix": "share of the reweighted advantage",
    "credit.alpha_clip": "bound on a token's weight, around 1",
}
"""Those that a first run is likely to change, in few words, so that all of them fit a screen.

Where an environment or method lacks one, it is not shown.
"""
ALL = "--help-all"

OF_TRAINING = frozenset(
    """
    rollout.tasks rollout.group_size rollout.ahead rollout.temperature rollout.top_k rollout.top_p
    rollout.invalid_penalty rollout.invalid_penalty_on rollout.anchor_similarity rollout.max_rounds
    rollout.revisit_share rollout.revisit_after rollout.mc_rollouts
    """.split()
)
"""Settings of playing that only training reads."""
