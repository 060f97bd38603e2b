"""Mutants of the sound designs: what the explorer must find, and what it cannot."""
