"""Alembic's directory: `env.py` runs the steps in `versions/`, on the connection that `storage.migrate` hands
over.
"""
