"""The machines of a Ray cluster, for all that work on them."""
