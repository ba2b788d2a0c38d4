"""What a page shows, gathered from a results folder."""
