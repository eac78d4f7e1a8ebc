"""Programs of their own that scorers start: what must be killed when it takes too long, or may not be trusted."""
