"""W&B as a view of the records."""
