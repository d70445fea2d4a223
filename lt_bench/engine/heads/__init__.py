"""Fitting heads fast: stacks, pools, written gradients, HeadSGD, CUDA graphs."""
