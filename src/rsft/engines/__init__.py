"""What samples. An engine's one method is `sample(policy, requests, params)`, which streams candidates."""
