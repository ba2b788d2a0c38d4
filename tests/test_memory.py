import pytest
from configs import small

from sampan.memory import MASTER_MB, WORKER_MB, encoder_mb
from sampan.plan import Plan


def fused() -> Plan:
    """A plan whose pictures are decoded straight into their encoder."""
    return Plan.parse(small({"datasets.d.modalities.image.store": False}))


class _Encoder:
    workers = "processes"

    def memory_bytes(self) -> int:
        return 100 * 2**20


def test_memory_is_that_of_the_process_and_of_its_workers():
    encoder = _Encoder()

    assert encoder_mb(encoder, 4) - encoder_mb(encoder, 3) == WORKER_MB + 100
    assert encoder_mb(encoder, 1) == MASTER_MB + WORKER_MB + 100


def test_an_encoder_that_is_one_process_needs_the_same_memory_with_any_threads():
    encoder = _Encoder()
    encoder.workers = "one"

    assert encoder_mb(encoder, 8) == encoder_mb(encoder, 1)


def test_a_job_that_decodes_too_needs_memory_for_each_of_its_decoders():
    plan, stored = fused(), Plan.parse(small())
    image = plan.modality("d", "image")
    decoder = -(-(image.memory_bytes() + 2 * image.max_bytes) // 2**20)

    def needs(plan, threads):
        return plan.extract_mb("hog", threads, of=("d", "image"))

    assert needs(stored, 4) == stored.extract_mb("hog", 4)
    each = needs(plan, 4) - needs(plan, 3) - (needs(stored, 4) - needs(stored, 3))
    assert decoder < each < decoder + 100


def test_a_job_that_may_be_given_a_gpu_needs_memory_for_the_largest_batch_there():
    image = fused().modality("d", "image")
    row_bytes = 32 * 32 * 3

    def needs(batch):
        encoder = _Encoder()
        encoder.workers, encoder.batch = "one", batch
        return encoder_mb(encoder, 1, fused=image)

    assert image.array().shape == (32, 32, 3)
    assert needs("auto") == needs(1024)
    assert needs(1024) - needs(32) == pytest.approx(6 * 992 * row_bytes / 2**20, abs=1)
