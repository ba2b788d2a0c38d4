"""File formats and what becomes of their content: read, checked, sized."""
