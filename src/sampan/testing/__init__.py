"""Conformance suites for plug-ins of other people, and small samples to feed them."""
