"""Export of a record as a classifier, and its use."""
