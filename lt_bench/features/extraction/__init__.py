"""Images through a frozen backbone to a feature cache."""
