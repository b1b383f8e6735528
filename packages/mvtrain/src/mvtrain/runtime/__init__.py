"""Locks, interruption, checksummed files, files of tensors, folders, prefetching, optional imports, parts of messages."""
