"""Train a network: schedules, the step, the loop, checkpoints, the log."""
