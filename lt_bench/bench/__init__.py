"""Planning, fitting, measuring and recording runs."""
