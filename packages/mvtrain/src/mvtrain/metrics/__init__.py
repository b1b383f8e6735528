"""Errors of keypoints, in 2D and 3D, and signs that a network has not learned."""
