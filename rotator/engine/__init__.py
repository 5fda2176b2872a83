"""What happens. Knows domain and ports only."""
