"""Agents, per-step credit assignment and the learner of StepOPSD.

The names of a training loop of one's own, in the order in which it uses them (``examples/custom_loop.py``):

- ``stepopsd_wrappers.make_text_env``: an environment as a language model plays it, recorded
- ``models.load_policy``: a language model with its tokenizer and prompt format
- ``credit.make``, ``credit.names``, ``credit.register``: credit methods by name
- ``learner.Learner``: the policy update
- ``rollout.groups``: which tasks are attempted, and how often
- ``rollout.rollout``: the policy's attempts at them; ``rollout.play_agent``: those of any other agent
- ``batch.collate``: records to a batch
- ``learner.fill``: audit a batch and compute the columns that a method needs
- ``models.Scorer``: settings of the forward passes behind these columns
- ``credit.scaled``: a method at a point of its schedule
- ``tasks.register``: make an environment of one's own trainable by every command
- ``run.run_training``: all of it with evaluation, checkpoints, alarms and files

Each room says in its ``__init__`` what it is for; ``dir(room)`` lists its names. Importing this package or a
room imports nothing heavy: a name is loaded when it is asked for, and torch and transformers with the first
that needs them.
"""
