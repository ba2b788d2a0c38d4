import os

from sampan.encoders.pretrained.offline import offline


def test_loading_is_offline_and_leaves_the_librarys_log_level_as_it_was(tmp_path):
    from transformers.utils import logging

    logging.set_verbosity(17)
    with offline(tmp_path):
        assert os.environ["HF_HUB_OFFLINE"] == os.environ["TRANSFORMERS_OFFLINE"] == "1"

    assert logging.get_verbosity() == 17
    logging.set_verbosity_warning()
