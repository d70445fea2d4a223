"""Readers of the layouts in which images and their labels are stored: one file a layout."""
