import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

import pytest
from slurm import gated, runs, scenarios
from slurm.cluster import Cluster, missing
from slurm.scenarios import Outcome, Site

AT_ONCE = 4
RECOVERIES: list[runs.Recovery] = []


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    """A cluster of its own for this session; CI must have one."""
    if reason := missing():
        if os.environ.get("CI") or os.environ.get("SAMPAN_REQUIRE_SLURM"):
            pytest.fail(reason)
        pytest.skip(reason)
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def site(slurm: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("slurm")
    plugins = gated.install(folder)
    sys.path.insert(0, str(plugins))  # the tests plan the same runs
    indexed = runs.prepare(folder / "indexed")
    runs.without_slurm(indexed, plugins, ["scan", "index"])
    preprocessed = indexed.copy(folder / "preprocessed")
    runs.without_slurm(preprocessed, plugins, ["preprocess"])
    finished = preprocessed.copy(folder / "finished")
    runs.without_slurm(finished, plugins, ["extract", "train"])
    return Site(
        slurm=slurm,
        folder=folder,
        plugins=plugins,
        indexed=indexed,
        preprocessed=preprocessed,
        finished=finished,
    )


@pytest.fixture(scope="session")
def outcomes(site: Site, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Outcome]]]:
    """The scenarios that the chosen tests ask for, several at once, under way."""
    wanted = {name for item in request.session.items for name in item.fixturenames}  # type: ignore[attr-defined]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = {
            scenario.__name__: pool.submit(scenario, site)
            for scenario in scenarios.TOGETHER
            if scenario.__name__ in wanted
        }
        try:
            yield found
        finally:
            for future in found.values():
                future.cancel()
            site.slurm.end_runs()


def _outcome_of(scenario: scenarios.Scenario) -> Callable[..., Outcome]:
    @pytest.fixture(scope="session", name=scenario.__name__)
    def outcome(site: Site, outcomes: dict[str, Future[Outcome]]) -> Outcome:
        if scenario in scenarios.ALONE:
            wait(outcomes.values())
            found = scenario(site)
        else:
            found = outcomes[scenario.__name__].result()
        RECOVERIES.extend(found.recoveries.values())
        return found

    return outcome


for _scenario in (*scenarios.TOGETHER, *scenarios.ALONE):
    globals()[f"{_scenario.__name__}_outcome"] = _outcome_of(_scenario)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How each fault ended, and when."""
    if RECOVERIES:
        terminalreporter.section("recovery from faults")
        for fault, happened, seconds in RECOVERIES:
            terminalreporter.write_line(f"{fault:32}{happened:44}{seconds:6.0f} s")
