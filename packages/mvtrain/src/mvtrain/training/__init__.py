"""Training of a network: schedules, the step, the loop, checkpoints, the log."""
