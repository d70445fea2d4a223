"""Stage 1: training a backbone on the long-tailed images."""
