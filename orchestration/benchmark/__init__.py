"""Figures of the engine: real Celery workers, real commits, every step recorded with its events, as in production."""
