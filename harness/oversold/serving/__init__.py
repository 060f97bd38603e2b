"""`oversold serve`: the platform with any bid strategy behind an HTTP API, in processes that share a port."""
