"""The transformers library, which is to read local folders and nothing else."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sampan.errors import ConfigError, SampanError


@contextmanager
def offline(path: Path, what: str = "this folder") -> Iterator[None]:
    """
    Load with transformers from this folder alone, in silence: no network, no bars, no advice.

    Whatever the library raises over `what` it cannot read becomes a `ConfigError`: a folder's files
    come from elsewhere, and the library trusts their shape.
    """
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except SampanError:
        raise
    except Exception as fault:
        raise ConfigError(f"{path}: transformers cannot read {what}: {_reason(fault)}") from fault
    except BaseException as fault:
        if type(fault).__name__ != "PanicException":  # of a library in Rust
            raise
        raise ConfigError(f"{path}: transformers cannot read {what}: {_reason(fault)}") from fault
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _reason(fault: BaseException) -> str:
    """What the library said, which may be no sentence, in one line."""
    text = " ".join(str(fault).split())[:300]
    if isinstance(fault, OSError | ValueError | ImportError | RuntimeError) and text:
        return text
    return f"{type(fault).__name__}: {text}" if text else type(fault).__name__
