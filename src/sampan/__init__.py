"""sampan: multimodal datasets from raw files to trained, evaluated models."""

__version__ = "0.1.0"

__all__ = ["__version__", "open"]


def __getattr__(name: str) -> object:
    """Load `sampan.open` when it is first asked for, so that `import sampan` stays cheap."""
    if name == "open":
        from sampan.dataset.open import open as found

        return found
    raise AttributeError(f"module 'sampan' has no attribute {name!r}")
