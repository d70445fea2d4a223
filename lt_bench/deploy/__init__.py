"""From a record to a classifier in use."""
