"""Projects of other systems into a project folder, and predictions into files that other systems read."""
