"""Durable writes, leases and documents on the shared tier."""
