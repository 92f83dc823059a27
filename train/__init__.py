"""From recorded decisions to a better Memory Manager and Answer Agent (extra `train`).

This release remembers and answers; the trainer is not in it yet. The name is kept for it: rows from traces, rewards,
GRPO and PPO, and the adapters that the models load.
"""
