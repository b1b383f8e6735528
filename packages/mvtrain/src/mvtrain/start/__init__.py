"""From raw videos to a project with frames to label, and from whole images to crops."""
