"""A model of the rotation protocol, and the search through all of its states."""
