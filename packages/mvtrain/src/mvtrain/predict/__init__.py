"""Predict keypoints of videos and of a project's labeled images."""
