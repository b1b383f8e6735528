"""How good predictions are: errors against labels, against a baseline, and in 3D."""
