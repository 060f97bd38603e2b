"""Third-party payment channels that may lie: profiles, the books, the rules, an HTTP service, clients."""
