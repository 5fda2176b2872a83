"""What others read over HTTP: metrics and health. Only GET, no secret, no change."""
