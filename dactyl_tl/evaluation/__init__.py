"""Trials of policies in any world that observes and acts, and what came of them."""
