"""A trained network as one graph that other runtimes execute."""
