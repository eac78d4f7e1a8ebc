"""Base models: where a reference leads, how a conversation becomes tokens, and the loaded network that a run shares."""
