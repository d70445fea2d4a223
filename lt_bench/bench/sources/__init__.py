"""Sources of features to fit and measure on: a cache, or images through a backbone."""
