"""Encoders: batches of one modality, stored or decoded on the way → embeddings. A plug-in each."""
