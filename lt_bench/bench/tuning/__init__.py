"""Choosing hyper-parameters on validation images that the backbone has not seen."""
