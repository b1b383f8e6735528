"""From a project folder to batches: labels, images, cameras and splits; samples and their loaders."""
