"""
What a config makes, and the settings that each of its jobs gets.

A pure function of the config, for rules and steps alike: it touches no data, and no array library
is imported here, since the Snakefile is read again in every cluster job.
"""

from sampan.plan.make_jobs import Jobs
from sampan.plan.stages import Stage
from sampan.plan.variants import Plan

__all__ = ["Jobs", "Plan", "Stage"]
