"""Joint colour histograms."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Interval

from sampan.errors import ConfigError
from sampan.plugins import Device, Encode, Modality

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PIXELS_AT_ONCE = 1 << 21


@dataclass(frozen=True, kw_only=True)
class Colour:
    """
    Share of the pixels in each cell of the colour cube (Swain & Ballard, IJCV 1991).

    `bins` equal parts of each channel, so `bins`³ values for RGB (red slowest, blue fastest) and
    `bins` for grey. With `root`, the square root of each share: Euclidean distance is then the
    Hellinger distance of the histograms (Arandjelović & Zisserman, CVPR 2012), and each row has
    length 1.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "use_attribute_docstrings": True,
    }
    kinds: ClassVar[tuple[str, ...]] = ("image",)
    workers: ClassVar[Literal["processes", "one"]] = "processes"
    devices: ClassVar[tuple[Device, ...]] = ("cpu",)

    bins: Annotated[int, Interval(ge=2, le=32)] = 6
    """Parts into which the 256 values of a channel are cut."""
    root: bool = True
    """Square roots of the shares (they sum to 1), instead of the shares."""
    batch: Annotated[int, Interval(gt=0, le=1 << 20)] = field(
        default=256, metadata={"identity": False}
    )
    """Rows in a batch at most."""

    def memory_bytes(self) -> int:
        """A Python process with NumPy, colour numbers of some megapixels, and the histograms."""
        return 300_000_000 + 64 * PIXELS_AT_ONCE + 24 * self.batch * self.bins**3

    def row_memory_bytes(self, modality: Modality) -> int:
        """The same with the colour numbers of one picture where it is larger."""
        height, width, _ = modality.array().shape
        beyond = max(0, height * width - PIXELS_AT_ONCE)
        return self.memory_bytes() + 64 * beyond

    def check(self, modality: Modality) -> list[str]:
        spec = modality.array()
        if len(spec.shape) != 3 or spec.dtype != "uint8":
            return [
                "colour takes pictures (y, x, channel) uint8, "
                f"this modality has ({', '.join(spec.dims)}) {spec.dtype}"
            ]
        return []

    def dimensions_for(self, modality: Modality) -> int:
        dimensions: int = self.bins ** modality.array().shape[2]
        return dimensions

    def load(self, modality: Modality, device: str) -> Encode:
        if faults := self.check(modality):
            raise ConfigError(faults)
        dimensions = self.dimensions_for(modality)
        return _Colour(bins=self.bins, root=self.root, dimensions=dimensions)


@dataclass(kw_only=True)
class _Colour:
    bins: int
    root: bool
    dimensions: int

    def __call__(
        self, data: "NDArray[Any]", length: "NDArray[np.int32] | None"
    ) -> "NDArray[np.float32]":
        import numpy as np

        num_rows, height, width, _ = data.shape
        out = np.empty((num_rows, self.dimensions), np.float32)
        step = max(1, PIXELS_AT_ONCE // (height * width))
        for start in range(0, num_rows, step):
            shares = self._counts(data[start : start + step]) / (height * width)
            out[start : start + step] = np.sqrt(shares) if self.root else shares
        return out

    def _counts(self, data: "NDArray[Any]") -> "NDArray[np.int64]":
        import numpy as np

        level = (np.arange(256) * self.bins // 256).astype(np.int64)
        cell = np.zeros(data.shape[:3], np.int64)
        for channel in range(data.shape[3]):
            cell = cell * self.bins + level[data[..., channel]]
        cell += np.arange(len(data))[:, None, None] * self.dimensions
        size = len(data) * self.dimensions
        return np.bincount(cell.ravel(), minlength=size).reshape(len(data), self.dimensions)
