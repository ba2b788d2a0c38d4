"""
The text of the config, looked at before Snakemake reads it.

Snakemake takes the last of two equal keys, runs code that a config may hold, and follows aliases
that unfold without end. What `--configfile` names it has read already.
"""

from pathlib import Path

from sampan.config.load import read
from sampan.config.root import Config
from sampan.errors import ConfigError
from snakemake.exceptions import WorkflowError


def check_text(names):
    """Snakemake's own error, with a line for each fault."""
    faults = []
    for name in names:
        try:
            found = read(Path(name))
        except ConfigError as fault:
            faults += fault.faults
            continue
        if "__use_yte__" in found:
            faults.append(
                f"{name}: __use_yte__ is no setting here; a config holds no code"
            )
        if len(names) > 1 and not found.keys() & Config.model_fields.keys():
            faults.append(
                f"{name}: is no config; targets come before --configfile, which takes every name "
                "that follows it"
            )
    if faults:
        raise WorkflowError("\n".join(f"error: {line}" for line in faults))


if workflow.is_main_process:
    check_text(workflow.overwrite_configfiles or ["config.yaml"])
