"""The audit trail's verifier: a small program of its own, `python -m rotator.verifier`.

It imports nothing of the service, so that what the writer gets wrong is noticed here. The folder can be copied to
another machine as it is: it needs Python 3.11 and `cryptography`; `psycopg` only to read a PostgreSQL database.
"""
