"""Turns what a run recorded into pictures, tables and pages for people."""
