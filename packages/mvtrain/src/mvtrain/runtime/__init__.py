"""Locks, interruption, checksummed files, new folders, prefetching and optional imports."""
