"""A training over several machines: the nodes of a Ray cluster, on each of which one actor has accelerate launch."""
