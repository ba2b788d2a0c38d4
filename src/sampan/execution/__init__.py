"""The engine that makes the shards of every stage: tasks, workers, threads, what goes wrong."""
