"""The vocabulary of the formula: one file a slot, one class an entry; nothing is imported here, the registry reads the files."""
