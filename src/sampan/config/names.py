"""How features and variants are called."""

import re
from typing import NamedTuple, Self


class FeatureName(NamedTuple):
    """`image.hog`: what an encoder makes of a modality."""

    modality: str
    encoder: str
    """Empty where a modality alone is meant."""

    @classmethod
    def parse(cls, text: str) -> Self:
        modality, _, encoder = text.partition(".")
        return cls(modality, encoder)

    @property
    def array(self) -> str:
        """The name of the array that holds it: the encoder's, or the modality's."""
        return self.encoder or self.modality

    def __str__(self) -> str:
        return f"{self.modality}.{self.encoder}" if self.encoder else self.modality


class VariantName(NamedTuple):
    """`image.hog@030542b0`: a stage's output under one set of settings."""

    name: str
    digest: str
    """The first eight digits."""

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """None where it is the name of no variant."""
        found = re.fullmatch(r"(.+)@([0-9a-f]{8})", text)
        return cls(*found.groups()) if found else None

    @classmethod
    def of(cls, name: str, digest: str) -> Self:
        return cls(name, digest[:8])

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}"
