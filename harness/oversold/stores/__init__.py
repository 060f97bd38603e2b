"""Find or start real servers, and hand out clients to them: one file a server."""
