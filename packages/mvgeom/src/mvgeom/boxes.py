"""Bounding boxes in frame px, as (..., 4) x, y, width, height."""
