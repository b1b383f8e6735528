"""Trainer of a multi-view transformer for 2D and 3D keypoints."""
