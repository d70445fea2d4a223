"""Run records: what a run is, its provenance, and the directory that keeps it. Imports no torch."""
