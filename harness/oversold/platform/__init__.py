"""What the strategies plug into: the bid pipeline, the tranche's status and progress, the ledger."""
