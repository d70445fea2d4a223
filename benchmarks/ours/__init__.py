"""Heads of this suite: rivals, points and boards of the protocol that judges them."""
