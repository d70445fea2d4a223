"""Conclusions from held-out predictions of strategies: which one to take, what to expect of it, and which others cannot be told apart from it."""
