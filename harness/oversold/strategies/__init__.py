"""Lock strategies: what decides whether a bid may have its share of a tranche."""
