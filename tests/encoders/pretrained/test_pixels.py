import numpy as np
import pytest
import torch
from encoders.stored import pictures
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from sampan.encoders.pretrained.pixels import (
    PictureSize,
    Pixels,
    image_faults,
    image_processor,
    size_of,
)
from sampan.encoders.pretrained.transfer import HostTransfer


@pytest.mark.parametrize(("name", "side"), [("clip", 224), ("siglip", 224), ("dinov2", 256)])
def test_pictures_at_the_processors_size_become_what_the_processor_makes(name, side, request):
    processor = image_processor(request.getfixturevalue(name))
    images = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), np.uint8)
    own = processor(list(images), return_tensors="pt")["pixel_values"]

    found = Pixels(processor=processor, transfer=HostTransfer())(images)["pixel_values"]

    np.testing.assert_allclose(found, own, atol=1e-6)


def test_bytes_alone_go_to_the_device_and_only_the_crop_and_constants_once(dinov2):
    sent = []

    class Transfer(HostTransfer):
        def send(self, values):
            sent.append((str(values.dtype).removeprefix("torch."), tuple(values.shape)))
            return super().send(values)

    make = Pixels(processor=image_processor(dinov2), transfer=Transfer())

    for rows in (3, 2):
        made = make(np.zeros((rows, 256, 256, 3), np.uint8))["pixel_values"]
        assert made.shape == (rows, 3, 224, 224)
        assert made.is_contiguous(memory_format=torch.channels_last)

    line = ("float32", (224 * 3,))
    assert sent == [("uint8", (3, 224, 224, 3)), line, line, ("uint8", (2, 224, 224, 3))]


def test_larger_pictures_are_resized_by_the_processor(clip):
    processor = image_processor(clip)
    images = np.random.default_rng(0).integers(0, 256, (2, 300, 300, 3), np.uint8)
    own = processor(list(images), return_tensors="pt")["pixel_values"]

    found = Pixels(processor=processor, transfer=HostTransfer())(images)["pixel_values"]

    assert np.array_equal(found, own)


@pytest.mark.parametrize("edge", [224, 384])
def test_a_processor_that_crops_while_resizing_takes_the_size_before_the_crop(edge):
    processor = ConvNextImageProcessorPil(size={"shortest_edge": edge}, crop_pct=0.875)
    size = size_of(processor)
    image = np.random.default_rng(0).integers(0, 256, (size.height, size.width, 3), np.uint8)

    found = Pixels(processor=processor, transfer=HostTransfer())(image[None])["pixel_values"]

    off = (size.height - edge) // 2
    middle = image[off : off + edge, off : off + edge]
    plain = ViTImageProcessorPil(
        do_resize=False, image_mean=processor.image_mean, image_std=processor.image_std
    )
    own = plain([middle], return_tensors="pt")["pixel_values"]
    np.testing.assert_allclose(found, own, atol=1e-6)
    assert size == (
        PictureSize(256, 256, "crop") if edge == 224 else PictureSize(384, 384, "stretch")
    )


def test_a_processor_that_sizes_each_picture_by_its_shape_is_not_supported():
    processor = ViTImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 128})

    (fault,) = image_faults(processor, pictures(64, 64), "vit", 3)

    assert fault.startswith("vit sizes each picture by its own shape (ViTImageProcessorPil)")


def test_every_fault_of_a_stored_picture_is_told_at_once():
    processor = ViTImageProcessorPil(size={"height": 64, "width": 64})

    assert image_faults(processor, pictures(32, 64, 1), "vit", 3) == [
        "stored as grey, vit takes RGB; set channels: 3",
        "stored at 32×64 px, vit takes 64×64; set height: 64, width: 64",
        "stored with fit: crop, vit squeezes the whole picture into its size; set fit: stretch",
    ]
