"""metaft."""
