"""The kinds of resources that this workflow asks for, for the doctor to try one job of each."""

import json

# What they ask for follows from their wildcards.
SIZED = ("preprocess_part", "extract", "extract_gpu", "train", "evaluate")
STEPS = (*MADE_BY.values(), *SIZED)


def steps_of_this_config():
    """The rules whose jobs run on the machines that are to be tried, in the order of the data."""
    datasets = PLAN.config.datasets
    sources = dict.fromkeys(path for each in datasets for path in made_here(each))
    yield from (MADE_BY[path] for path in sources)
    for step in ("scan", "index"):
        yield from (f"{step}_{dataset}" for dataset in datasets)
    if PLAN.preprocessed:
        yield "preprocess_part"
    yield from (step for step, encoders in ENCODERS.items() if encoders)
    if PLAN.models:
        yield from ("train", "evaluate")


def encoders_by_step():
    """Rule → the encoders that it runs, with their settings."""
    used = {stage.encoder for stage in PLAN.features.values()}
    return {
        step: {
            name: EncoderSettings(PLAN.config.encoders[name].settings)
            for name in PLAN.encoders(gpu=step == "extract_gpu")
            if name in used
        }
        for step in ("extract", "extract_gpu")
    }


def kinds_of_resources():
    """One rule for each kind; datasets whose jobs ask for the same have one between them."""
    kinds = {}
    for name in steps_of_this_config():
        resources = workflow.get_rule(name).resources.items()
        asked = {key: value.raw for key, value in resources}
        family = name if name in STEPS else name.partition("_")[0]
        kinds.setdefault((family, json.dumps(asked, sort_keys=True)), name)
    return list(kinds.values())


def most_mem_mb(step):
    """The memory of a rule's largest job."""

    def mem_mb(wildcards, threads):
        if step in ("train", "evaluate"):
            return max(map(PLAN.model_mb, PLAN.models))
        if step == "preprocess_part":
            return max(PLAN.preprocess_mb(*name, threads) for name in PLAN.preprocessed)
        return max(
            PLAN.extract_mb(stage.encoder, threads, of=(stage.dataset, stage.modality))
            for stage in PLAN.features.values()
            if stage.encoder in ENCODERS[step]
        )

    return mem_mb


def most_threads(step):
    """The threads of a rule's largest job."""
    if step == "preprocess_part":
        return max(PLAN.threads(dataset) for dataset, _ in PLAN.preprocessed)
    return max(
        PLAN.threads(stage.dataset, stage.encoder)
        for stage in PLAN.features.values()
        if stage.encoder in ENCODERS[step]
    )


def doctor_spec(step):
    def spec(wildcards):
        return as_spec(DoctorJob(rule=step, encoders=ENCODERS.get(step, {})).to_json())

    return spec


def ask_for_the_same(step):
    """Give a rule of the doctor's what the profile gives its original, but for the time."""
    doctor = workflow.get_rule(f"doctor_{step}").resources
    for name, resource in workflow.get_rule(step).resources.items():
        if name == "runtime":
            doctor["job_runtime"] = resource.with_name("job_runtime")
        elif name == "mem_mb" and step in SIZED and resource.raw is None:
            doctor[name] = most_mem_mb(step)
        elif name == "_cores" and step in SIZED and resource.raw is None:
            doctor[name] = most_threads(step)
        else:
            doctor[name] = resource


ENCODERS = encoders_by_step()
