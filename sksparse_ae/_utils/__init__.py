"""Helpers that know nothing of autoencoders."""
