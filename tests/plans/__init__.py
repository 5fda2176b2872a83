"""What releases have written in the middle of their work, and that today's release goes on with it."""
