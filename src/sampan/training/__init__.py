"""Training of models: roles, sampling, the loop, checkpoints, and prediction."""
