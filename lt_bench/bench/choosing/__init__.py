"""Choosing strategy and hyper-parameters by nested cross-validation on rows that the backbone has not seen."""
