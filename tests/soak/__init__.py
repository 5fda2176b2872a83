"""Memory, descriptors, ticks and stops of a daemon that runs for long."""
