"""Export a trained network as one graph for other runtimes."""
