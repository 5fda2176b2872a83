"""Real servers on loopback for the demo, the tests and the benchmarks; they need the `demo` extra."""
