"""Stored pictures → what an image encoder takes, by its own processor."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sampan.encoders.pretrained.offline import offline
from sampan.encoders.pretrained.transfer import Transfer
from sampan.errors import ConfigError
from sampan.plugins import FitsPictures, Modality

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


class PictureSize(NamedTuple):
    """What a processor resizes every picture to, before it crops."""

    height: int
    width: int
    fit: str
    """`crop`: the shortest side, the rest goes; `stretch`: both sides, whatever the shape was."""


def image_processor(path: Path) -> Any:
    """The folder's image processor on Pillow: the same values with and without torchvision."""
    with offline(path, "its image processor (preprocessor_config.json)"):
        from transformers import AutoImageProcessor

        return AutoImageProcessor.from_pretrained(
            path, local_files_only=True, trust_remote_code=False, backend="pil"
        )


def size_of(processor: Any) -> PictureSize | None:
    """None where the size depends on the picture's shape, so that no stored size can serve."""
    size: Any = getattr(processor, "size", None)
    crop: Any = getattr(processor, "crop_size", None)
    crops = bool(getattr(processor, "do_center_crop", False))
    edge = getattr(size, "shortest_edge", None)
    if not getattr(processor, "do_resize", False):
        return PictureSize(crop.height, crop.width, "crop") if crops and crop.height else None
    if edge and (share := getattr(processor, "crop_pct", None)):
        # ConvNeXt's processor crops to `edge` while it resizes, and stretches from 384 px on.
        whole = int(edge / share)
        return (
            PictureSize(edge, edge, "stretch") if edge >= 384 else PictureSize(whole, whole, "crop")
        )
    if edge and crops and not getattr(size, "longest_edge", None):
        return PictureSize(edge, edge, "crop")
    if getattr(size, "height", None) and getattr(size, "width", None):
        return PictureSize(size.height, size.width, "stretch")
    return None


def picture_settings(processor: Any, name: str, channels: int) -> dict[str, Any]:
    """How pictures have to be decoded for the encoder `name`, before its processor crops them."""
    size = size_of(processor)
    if size is None:
        kind = type(processor).__name__
        raise ConfigError(f"{name} sizes each picture by its own shape ({kind}); not supported")
    return {"height": size.height, "width": size.width, "fit": size.fit, "channels": channels}


def image_faults(processor: Any, modality: Modality, name: str, channels: int) -> list[str]:
    """Why pictures stored like this are not what the encoder `name` would make of the originals."""
    height, width, stored_channels = modality.array().shape
    faults = []
    if stored_channels != channels:
        kinds = {1: "grey", 3: "RGB"}
        found, wanted = (kinds.get(c, f"{c} channels") for c in (stored_channels, channels))
        faults.append(f"stored as {found}, {name} takes {wanted}; set channels: {channels}")
    size = size_of(processor)
    if size is None:
        kind = type(processor).__name__
        return [*faults, f"{name} sizes each picture by its own shape ({kind}); not supported"]
    if size.fit == "crop":
        fits = height == width and height >= size.height
    else:
        fits = height >= size.height and width >= size.width
    if not fits:
        faults.append(
            f"stored at {height}×{width} px, {name} takes {size.height}×{size.width}; "
            f"set height: {size.height}, width: {size.width}"
        )
    fit = modality.fit if isinstance(modality, FitsPictures) else size.fit
    if fit != size.fit:
        does = {
            "crop": "crops the picture's middle",
            "stretch": "squeezes the whole picture into its size",
        }
        faults.append(f"stored with fit: {fit}, {name} {does[size.fit]}; set fit: {size.fit}")
    return faults


def size_faults(path: Path, processor: Any, module: Any, name: str) -> list[str]:
    """
    Why the model `name` cannot take pictures of the size that the processor makes.

    `module` has no weights. Many models take other sizes than their settings say; so its shapes are
    worked out for the processor's size and, where that fails, for its own.
    """
    import torch

    size, own = size_of(processor), getattr(module.config, "image_size", None)
    crop: Any = getattr(processor, "crop_size", None)
    if size is None or not isinstance(own, int):
        return []
    made = (size.height, size.width)
    if getattr(processor, "do_center_crop", False) and crop and crop.height:
        made = (crop.height, crop.width)
    channels = getattr(module.config, "num_channels", 3)

    def takes(height: int, width: int) -> bool:
        try:
            with torch.inference_mode():
                module(pixel_values=torch.empty(1, channels, height, width, device="meta"))
        except Exception:  # whatever the model says to it
            return False
        return True

    if made == (own, own) or takes(*made) or not takes(own, own):
        return []
    return [
        f"{path}: processor and model do not fit: the processor makes pictures of "
        f"{made[0]}×{made[1]} px, {name} takes {own}×{own} (image_size); take both from one model"
    ]


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """
    (sample, y, x, channel) uint8 → {"pixel_values": (sample, channel, y, x) float32}.

    Bytes go to the device as they are, and stay as they lie, channels last, which is also how
    convolutions read them fastest. The processor itself works, on the host, where it has to resize.
    """

    processor: Any
    transfer: Transfer

    def __call__(self, data: "NDArray[np.uint8]") -> "dict[str, torch.Tensor]":
        size = size_of(self.processor)
        at_size = size is not None and data.shape[1:3] == (size.height, size.width)
        if at_size and self._plain:
            return {"pixel_values": self._on_device(data)}
        made = self.processor(list(data), input_data_format="channels_last", return_tensors="pt")
        return {name: self.transfer.send(values) for name, values in made.items()}

    def _on_device(self, data: "NDArray[np.uint8]") -> "torch.Tensor":
        """What the processor does to pictures of its own size, for the whole batch at once."""
        import torch

        processor = self.processor
        if getattr(processor, "do_center_crop", False):
            crop = processor.crop_size
            top, left = (data.shape[1] - crop.height) // 2, (data.shape[2] - crop.width) // 2
            data = data[:, top : top + crop.height, left : left + crop.width]
        rows, height, width, channels = data.shape
        # by whole lines of a picture: by pixels, of three numbers each, it takes five times as long
        lines = self.transfer.send(data).view(rows * height, width * channels).to(torch.float32)
        scale, shift = self._line(width, channels)
        torch.addcmul(shift, lines, scale, out=lines)
        return lines.view(rows, height, width, channels).permute(0, 3, 1, 2)

    def _line(self, width: int, channels: int) -> "tuple[torch.Tensor, torch.Tensor]":
        """What to multiply a line of a picture with, and what to add; kept on the device."""
        if width not in self._lines:
            self._lines[width] = tuple(
                self.transfer.send(values.repeat(width))
                for values in _affine(self.processor, channels)
            )
        scale, shift = self._lines[width]
        return scale, shift

    @cached_property
    def _lines(self) -> "dict[int, tuple[torch.Tensor, ...]]":
        return {}

    @cached_property
    def _plain(self) -> bool:
        return _is_plain(self.processor)


def _affine(processor: Any, channels: int) -> "tuple[torch.Tensor, torch.Tensor]":
    """(channel) float32 each: a byte times the first, plus the second, is what the model takes."""
    import torch

    scale = torch.full((channels,), 1.0, dtype=torch.float64)
    shift = torch.zeros_like(scale)
    if processor.do_rescale:
        scale *= processor.rescale_factor
    if processor.do_normalize:
        mean, deviation = (
            torch.tensor(values, dtype=torch.float64)
            for values in (processor.image_mean, processor.image_std)
        )
        scale, shift = scale / deviation, shift - mean / deviation
    return scale.float(), shift.float()


def _is_plain(processor: Any) -> bool:
    """Whether the processor does no more than resize, crop, rescale and normalise."""
    from transformers.image_processing_backends import PilBackend

    steps = ("preprocess", "_preprocess", "resize", "center_crop", "rescale", "normalize")
    crop: Any = getattr(processor, "crop_size", None)
    size = size_of(processor)
    pads = getattr(processor, "do_pad", False) or (
        getattr(processor, "do_center_crop", False)
        and (size is None or crop.height > size.height or crop.width > size.width)
    )
    return not pads and all(
        getattr(type(processor), step, None) is getattr(PilBackend, step) for step in steps
    )
