"""Networks that turn images into features, and importers for published stage-1 checkpoints."""
