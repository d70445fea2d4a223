"""The feature cache: its format, its key, batches and samplers over it."""
