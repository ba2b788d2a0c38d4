"""Modalities: the bytes of one sample become one row of a canonical array."""
