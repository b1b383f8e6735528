"""Labeling of a project's frames in the browser, with the geometry of its cameras."""
