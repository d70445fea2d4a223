"""Plots of one board: matplotlib, SVG and PNG, colour-blind safe, byte-stable."""
