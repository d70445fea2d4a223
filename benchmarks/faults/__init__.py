"""Faults on purpose: kills, damaged files, races, odd places and hostile input, counted by what came of them."""
