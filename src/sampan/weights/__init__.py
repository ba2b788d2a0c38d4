"""Folders of weights: digests, staging."""
