"""Rejection sampling fine-tuning of chat models."""
