"""Many machines: engines and scorers at work in processes of a Ray cluster. Nothing of Ray is imported without it."""
