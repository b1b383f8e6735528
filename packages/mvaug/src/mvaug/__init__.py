"""Geometry-consistent augmentation for several calibrated cameras."""
