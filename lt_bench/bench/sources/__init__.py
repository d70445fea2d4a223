"""What runs are fitted and measured on: a feature cache, or images through a backbone."""
