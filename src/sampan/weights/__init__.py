"""Folders of weights: what is read from them, whether it is whole, their digests, staging."""
