"""Encoders: batches of one stored modality → embeddings."""
