"""Consentry: may these face images be used for this purpose, by this recipient, today?"""

__version__ = "0.1.0"
