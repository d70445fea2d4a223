"""Data sets: specifications, long-tail profiles, the identity of a split, and the readers of images."""
