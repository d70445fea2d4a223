"""What a data set is: specifications, long-tail profiles, the identity of a split, and where images come from."""
