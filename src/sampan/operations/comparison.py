"""Features that are compared as they are must be of one length: found out before any job runs."""

from sampan import plugins
from sampan.config.names import FeatureName
from sampan.errors import SampanError
from sampan.operations.estimate.dimensions import stated
from sampan.plan import Plan
from sampan.plan.variants import unlike
from sampan.plugins import Encoder


def comparison_faults(plan: Plan) -> list[str]:
    """
    A line for each `retrieve` model whose inputs differ in length, by the encoders' own settings or
    what their folders say; those that the plan refuses already are not among them.
    """
    faults = []
    for name, model in plan.config.models.items():
        if model.task == "retrieve":
            lengths = {feature: _length(plan, model.dataset, feature) for feature in model.inputs}
            faults += unlike(name, lengths)
    return faults


def _length(plan: Plan, dataset: str, feature: str) -> int | None:
    found = plan.dimensions(dataset, feature)
    if found is not None:
        return found
    modality, encoder = FeatureName.parse(feature)
    settings = plan.config.encoders[encoder].settings
    kind = plan.config.datasets[dataset].modalities[modality].kind
    if said := stated(settings, kind):
        return said[0]
    try:
        plugin: Encoder = plugins.make("encoders", settings, f"encoders.{encoder}")
        if (
            plugin.workers == "processes"
            and plan.config.datasets[dataset].modalities[modality].store
        ):
            return plugin.load(plan.modality(dataset, modality), "cpu").dimensions
    except SampanError:
        pass  # said where encoders are checked
    return None
