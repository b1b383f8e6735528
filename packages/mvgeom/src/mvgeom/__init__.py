"""Camera geometry for several calibrated cameras: projection, triangulation, bounding boxes, calibration."""
