"""Import of labels from other programs, and export of predictions to them."""
