"""Raw formats → samples."""
