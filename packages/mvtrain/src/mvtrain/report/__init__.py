"""The report: a run as one HTML file with figures, images and tables."""
