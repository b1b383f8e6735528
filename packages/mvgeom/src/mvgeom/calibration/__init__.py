"""Calibration of rigs: from boards in pictures, and from keypoints of the subject itself."""
