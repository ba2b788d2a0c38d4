"""Heads on stored features: roles, sampling, losses, the loop, checkpoints and prediction."""
