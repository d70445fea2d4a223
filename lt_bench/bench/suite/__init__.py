"""Suites: strategies x caches x seeds."""
