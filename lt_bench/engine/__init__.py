"""Fitting heads: under Lightning's Trainer, alone or stacked, on one process or several."""
