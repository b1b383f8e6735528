"""One module per foreign kind of project; each gives `ForeignLabels`."""
