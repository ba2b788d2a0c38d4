"""Histograms of oriented gradients."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Interval

from sampan.errors import ConfigError
from sampan.plan.memory import rows_of_block
from sampan.plugins import Device, Encode, Modality

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Hog:
    """
    Histograms of oriented gradients (Dalal & Triggs, CVPR 2005), as scikit-image has them.

    Unsigned gradients, blocks that overlap by all but one cell, L2-Hys normalisation. Of a colour
    image the channel with the strongest gradient counts at each pixel. Pixels beyond the last whole
    cell at the right and lower border are left out.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "use_attribute_docstrings": True,
    }
    kinds: ClassVar[tuple[str, ...]] = ("image",)
    workers: ClassVar[Literal["processes", "one"]] = "processes"
    devices: ClassVar[tuple[Device, ...]] = ("cpu",)

    orientations: Annotated[int, Interval(gt=0, le=180)] = 9
    """Bins of a histogram over 180°."""
    pixels_per_cell: Annotated[int, Interval(gt=0, le=16_384)] = 8
    """Side of a cell in pixels."""
    cells_per_block: Annotated[int, Interval(gt=0, le=1_024)] = 2
    """Side of a block in cells."""
    batch: Annotated[int, Interval(gt=0, le=1 << 20)] = field(
        default=64, metadata={"identity": False}
    )
    """Rows in a batch at most."""

    def memory_bytes(self) -> int:
        """A Python process with scikit-image, and the gradients of one picture of 4 megapixels."""
        return 1_000_000_000

    def row_memory_bytes(self, modality: Modality) -> int:
        """One picture's gradients in both directions for each channel, and its histograms."""
        height, width, channels = modality.array().shape
        blocks = height * width // self.pixels_per_cell**2 * self.cells_per_block**2
        rows = rows_of_block(self.workers, self.batch, height * width * channels)
        histograms = blocks * self.orientations * (16 + 4 * rows)
        return 400_000_000 + height * width * (40 * channels + 40) + histograms

    def check(self, modality: Modality) -> list[str]:
        spec = modality.array()
        if len(spec.shape) != 3:
            return [
                f"hog takes pictures (y, x, channel), this modality has ({', '.join(spec.dims)})"
            ]
        height, width, _ = spec.shape
        side = self.pixels_per_cell * self.cells_per_block
        if min(height, width) >= side:
            return []
        return [
            f"stored at {height}×{width} px, a block of hog is {side}×{side} px "
            f"(pixels_per_cell: {self.pixels_per_cell} × cells_per_block: {self.cells_per_block}); "
            f"set height and width to {side} or more, or a smaller pixels_per_cell"
        ]

    def dimensions_for(self, modality: Modality) -> int:
        height, width, _ = modality.array().shape
        blocks_y, blocks_x = (
            side // self.pixels_per_cell - self.cells_per_block + 1 for side in (height, width)
        )
        return blocks_y * blocks_x * self.cells_per_block**2 * self.orientations

    def load(self, modality: Modality, device: str) -> Encode:
        if faults := self.check(modality):
            raise ConfigError(faults)
        return _Hog(settings=self, dimensions=self.dimensions_for(modality))


@dataclass(kw_only=True)
class _Hog:
    settings: Hog
    dimensions: int

    def __call__(
        self, data: "NDArray[Any]", length: "NDArray[np.int32] | None"
    ) -> "NDArray[np.float32]":
        import numpy as np
        from skimage.feature import hog

        cell, block = self.settings.pixels_per_cell, self.settings.cells_per_block
        out = np.empty((len(data), self.dimensions), np.float32)
        for row, image in zip(out, data, strict=True):
            row[:] = hog(
                image,
                orientations=self.settings.orientations,
                pixels_per_cell=(cell, cell),
                cells_per_block=(block, block),
                block_norm="L2-Hys",
                channel_axis=-1,
            )
        return out
