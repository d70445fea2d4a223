"""Run records and where they are kept; free of torch."""
