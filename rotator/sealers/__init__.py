"""Where key-encryption keys are: in a place that they are read from, or in a service that never gives them out.

`wiring.sealer` knows which reference means which.
"""
