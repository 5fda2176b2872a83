"""Where the trail is copied to: each against a real receiver."""
