"""What a data set is: specifications, long-tail profiles, the identity of a split, and the readers of images."""
