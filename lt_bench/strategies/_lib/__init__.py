"""Helpers of a family of strategies."""
