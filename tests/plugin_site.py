"""A plug-in in a folder of its own, as pip would leave it behind."""

from pathlib import Path


def install(folder: Path, name: str, module: str, entry_points: str) -> Path:
    """Write the module and its entry points; returns the folder to put on the path."""
    site = folder / "site"
    about = site / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (site / f"{name}.py").write_text(module)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(entry_points)
    return site
