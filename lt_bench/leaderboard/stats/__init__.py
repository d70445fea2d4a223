"""Intervals, ranks and paired comparisons of the rows of a board."""
