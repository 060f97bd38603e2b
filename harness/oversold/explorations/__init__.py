"""Explorations as commands and tests ask for them: what is asked, the servers, what is told and written."""
