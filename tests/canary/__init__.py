"""The canary suite: no secret is anywhere but at its destinations and, sealed, in the database."""
