"""Typed settings, one module a section; no array library is imported here."""
