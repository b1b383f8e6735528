"""Locks, interruption, checksummed files, prefetching and optional imports."""
