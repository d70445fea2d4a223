"""What held-out predictions say of strategies: which one to take, what to expect of it, and which others cannot be told apart from it."""
