"""Find faults of a project before anything is trained on it."""
