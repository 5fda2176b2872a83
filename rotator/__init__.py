"""Changes API keys without an outage: creates, pushes, verifies, promotes, retires."""

__version__ = "0.1.0"
