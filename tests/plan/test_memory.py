import pytest
from configs import small

from sampan import plugins
from sampan.compute import Grant
from sampan.errors import ConfigError
from sampan.plan import Plan
from sampan.plan.memory import (
    MASTER_MB,
    WORKER_MB,
    advice_on,
    decoder_bytes,
    encoder_mb,
    modality_mb,
    rows_of_block,
)


def fused() -> Plan:
    """A plan whose pictures are decoded straight into their encoder."""
    return Plan.parse(small({"datasets.d.modalities.image.store": False}))


class _Encoder:
    workers = "processes"
    devices = ("cpu",)
    batch = 1

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


def test_on_gpus_there_is_a_process_for_each_however_it_shares_threads():
    encoder = _Encoder()
    encoder.devices = ("cpu", "cuda")

    for encoder.workers in ("processes", "one"):
        assert encoder_mb(encoder, 8, gpus=2) == MASTER_MB + 2 * (WORKER_MB + 100)
    encoder.workers, encoder.devices = "processes", ("cpu",)
    assert encoder_mb(encoder, 8, gpus=2) == encoder_mb(encoder, 8)


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
        encoder.workers, encoder.devices, encoder.batch = "one", ("cpu", "cuda"), batch
        return encoder_mb(encoder, 1, fused=image)

    assert image.array().shape == (32, 32, 3)
    assert needs("auto") == needs(1024)
    assert needs(1024) - needs(32) == pytest.approx(6 * 992 * row_bytes / 2**20, abs=1)


SOUND = {"kind": "audio", "rate_hz": 48_000, "seconds": 240.0, "dtype": "int16"}
PICTURE = {"kind": "image", "height": 4096, "width": 4096}


@pytest.mark.parametrize(
    ("encoder", "modality", "measured_mb"),
    [
        # resident memory of the worker, as found with numpy 2, scipy 1.16 and scikit-image 0.26
        ({"kind": "logmel"}, SOUND, 781),
        ({"kind": "logmel"}, SOUND | {"rate_hz": 16_000}, 421),
        ({"kind": "hog"}, PICTURE, 2_575),
        ({"kind": "colour"}, PICTURE, 583),
    ],
)
def test_what_is_planned_for_long_rows_is_what_they_were_found_to_take(
    encoder, modality, measured_mb
):
    plugin = plugins.make("encoders", encoder, "e")
    stored = plugins.make("modalities", modality, "m")

    worker_mb = (encoder_mb(plugin, 1, stored=stored) - MASTER_MB) * 1.048576

    assert worker_mb * 0.9 > measured_mb


def test_rows_of_usual_size_change_no_plan():
    plan = Plan.parse(small())

    assert plan.extract_mb("hog", 4, of=("d", "image")) == plan.extract_mb("hog", 4)


def test_an_encoder_of_one_process_needs_memory_for_batches_of_large_rows():
    encoder = _Encoder()
    encoder.workers, encoder.batch = "one", 32
    picture = plugins.make("modalities", PICTURE, "m")

    more = encoder_mb(encoder, 1, stored=picture) - encoder_mb(encoder, 1)

    assert more >= 2 * 32 * 4096 * 4096 * 3 / 2**20


def test_a_thread_is_given_few_long_rows_at_a_time_and_all_of_a_batch_of_short_ones():
    assert rows_of_block("processes", 64, 23_000_000) == 1
    assert rows_of_block("processes", 64, 4_000_000) == 4
    assert rows_of_block("processes", 64, 3_072) == 64
    assert rows_of_block("one", 64, 23_000_000) == 64


def test_a_job_that_decodes_long_rows_holds_some_of_them():
    short, long = (
        plugins.make("modalities", SOUND | {"seconds": seconds}, "m") for seconds in (10.0, 240.0)
    )
    decoders = decoder_bytes(long) - decoder_bytes(short)

    more = modality_mb(long, 1) - modality_mb(short, 1)

    assert more >= (decoders + 3 * 240 * 48_000 * 2) / 2**20


def test_a_grant_that_is_too_small_for_long_rows_names_them_and_not_the_model():
    sound = plugins.make("modalities", SOUND, "m")

    with pytest.raises(ConfigError) as caught:
        Grant(threads=1, memory_mb=100).need(5_000, "extract tone.logmel", advice_on(sound))

    assert "rows are long (23.0 MB a row: 11,520,000 time int16)" in str(caught.value)
    assert "set less seconds" in str(caught.value)
    assert "smaller model" not in str(caught.value)


def test_a_model_asks_for_the_memory_of_as_many_rows_as_there_is_room_for():
    def asked(rows, model):
        changes = {"datasets.d.capacity": rows, "datasets.d.rows_per_job": 1 << 20}
        return Plan.parse(small(changes)).model_mb(model)

    assert asked(1 << 20, "sort") == 4096
    assert asked(10**8, "sort") <= 4096
    assert asked(10**9, "sort") == pytest.approx(16 * 10**9 / 2**20, rel=0.2)
    assert asked(10**8, "align") == pytest.approx(144 * 10**8 / 2**20, rel=0.25)
