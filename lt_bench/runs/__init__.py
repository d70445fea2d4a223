"""The verbs: each one's story told once, from top to bottom."""
