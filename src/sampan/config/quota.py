"""The `quota` section: what a plan may take at most."""

from typing import Annotated

from pydantic import Field

from sampan.config.dataset import Section

Most = Annotated[float, Field(gt=0)]


class QuotaSettings(Section):
    """What the allocation allows; `sampan estimate` refuses a plan that needs more."""

    terabytes: Most | None = None
    """Terabytes (10^12 bytes) on the shared tier: results, logs, Snakemake's own records."""
    files: Annotated[int, Field(gt=0)] | None = None
    """Files on the shared tier, of the same."""
    node_hours: Most | None = None
    """Hours of nodes, of all submitted jobs together."""
    kilowatt_hours: Most | None = None
    """Energy of the nodes while they are busy, from the watts that `sampan estimate` is told."""
