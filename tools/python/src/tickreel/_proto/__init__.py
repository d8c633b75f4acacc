"""Stubs that `generate.py` makes from the contract."""
