"""A run as one HTML file: figures, pictures and numbers that show whether to trust it."""
