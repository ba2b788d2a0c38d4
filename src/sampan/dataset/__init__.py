"""A dataset's committed stages as people and models see them."""
