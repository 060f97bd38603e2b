"""Find out whether a design oversells, undersells or pays twice, before customers do."""

__version__ = "0.1.0"
