"""One file per classifier re-training strategy; nothing is imported here, the registry reads the files."""
