"""Locks, interruption, files with checksums or tensors, folders, prefetching, optional imports, parts of messages."""
