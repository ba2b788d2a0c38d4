"""Chunked, sharded Zarr v3 arrays that are durable, resumable and verifiable."""
