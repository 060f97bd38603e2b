"""Runs strategies one store command at a time, and searches the orders in which these can come."""
