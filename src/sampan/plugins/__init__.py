"""
Plug-ins: what each kind of them has to be, and how they are found, made and named.

Three groups: `sampan.sources`, `sampan.modalities` and `sampan.encoders`. A plug-in is a frozen,
keyword-only dataclass: its fields are its settings, checked by pydantic as they stand, and its
methods do the work. Its module imports no array library at the top, so that settings can be checked
cheaply. What authors of plug-ins need can be imported from here.
"""

from sampan.plugins.decoding import decide_decoding, largest_decoding
from sampan.plugins.encoder import (
    DecidesDecoding,
    Device,
    Encode,
    Encoder,
    GrowsWithRows,
    KnowsDimensions,
    PadsRows,
    PendingEmbeddings,
    PreparesRows,
    QueuesBatches,
    ReadyEmbeddings,
)
from sampan.plugins.modality import (
    ArraySpec,
    Decoded,
    FitsPictures,
    Modality,
    SampledInTime,
    Shortened,
)
from sampan.plugins.registry import ENTRIES, Group, kinds, make, plugin_class, settings_schema
from sampan.plugins.revisions import REVISIONS, default_of, identity, revision
from sampan.plugins.source import Cells, SelectiveSource, Source, TypedSource

__all__ = [
    "ENTRIES", "REVISIONS", "ArraySpec", "Cells", "DecidesDecoding", "Decoded", "Device", "Encode",
    "Encoder", "FitsPictures", "Group", "GrowsWithRows", "KnowsDimensions", "Modality", "PadsRows",
    "PendingEmbeddings", "PreparesRows", "QueuesBatches", "ReadyEmbeddings", "SampledInTime",
    "SelectiveSource", "Shortened", "Source", "TypedSource", "decide_decoding", "default_of",
    "identity", "kinds", "largest_decoding", "make", "plugin_class", "revision", "settings_schema",
]  # fmt: skip
