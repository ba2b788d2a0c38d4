"""The ordered list of samples: how it is found, written and read."""
