"""The training loop: schedules, the step, checkpoints, the log."""
