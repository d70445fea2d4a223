"""Published accuracies, with their sources."""
