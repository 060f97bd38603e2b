"""Locust users, lanes, starting gate and recorder: the only importer of locust."""
