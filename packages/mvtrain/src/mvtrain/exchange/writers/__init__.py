"""One module per foreign kind of file that predictions are converted to."""
