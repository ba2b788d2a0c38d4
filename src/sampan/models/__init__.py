"""Models on stored features: heads, tasks, losses and targets; no parallelism and no files."""
