"""Reading and writing of projects: label tables, images, boxes, calibrations, splits."""
