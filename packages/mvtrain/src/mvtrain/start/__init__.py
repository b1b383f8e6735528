"""From raw videos to a project with frames to label or pseudo-labels, and from whole images to crops."""
