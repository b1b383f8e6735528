"""Keypoints drawn into images, and contact sheets."""
