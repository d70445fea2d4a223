"""Metrics of a fitted head; nothing is imported here, so that the numpy-only parts stay free of torch."""
