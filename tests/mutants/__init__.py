"""The mutation gate: each guard is taken out of the real code, once, and a suite must notice."""
