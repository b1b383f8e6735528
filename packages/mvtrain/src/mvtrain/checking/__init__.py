"""`mvtrain check`: what is wrong with a project, before anything is trained on it."""
