"""Read and write a project: label tables, images, boxes, calibrations, splits."""
