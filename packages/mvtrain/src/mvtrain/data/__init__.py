"""Samples, batches and loaders."""
