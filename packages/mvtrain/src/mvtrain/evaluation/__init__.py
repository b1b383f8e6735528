"""Compare a run's predictions with labels, and fit the map from confidence to likelihood."""
