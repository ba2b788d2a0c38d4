"""What jobs wrote of themselves: logs, benchmarks, receipts, how far they are."""
