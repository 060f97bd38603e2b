"""Where the explorer gets between a client and its store, one file a driver."""
