"""Backends that others write: built, installed from wheels next to the core's, and put to the contract."""
