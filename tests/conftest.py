"""Settings of the whole test suite.

`HYPOTHESIS_PROFILE=thorough pytest tests/mvgeom tests/mvaug` tries ten times as many examples in every property test,
`HYPOTHESIS_PROFILE=brief` a tenth.
"""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import is_hypothesis_test, settings

import mvgeom  # noqa: F401 - limits OpenCV's decoders, and so must come before a test imports OpenCV

# Searches for garbage take a quarter of the collection of all tests, and later a tenth of them.
gc.disable()

# Machines that run tests are shared: the time of a single example proves nothing.
settings.register_profile("shared-machine", deadline=None)
settings.register_profile("brief", settings.get_profile("shared-machine"), max_examples=10)
settings.register_profile("thorough", settings.get_profile("shared-machine"), max_examples=1000, print_blob=True)
LONGEST = ("test_the_page_runs", "test_the_tutorial_runs", "test_the_quickstart_learns")
"""Names of the longest tests, which begin first, the longest first."""

FACTORS = {"thorough": 10.0, "brief": 0.1}
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "shared-machine")
settings.load_profile(PROFILE)

# No test cuts the power, and waiting for the disk takes 10 ms a file.
os.environ["MVGEOM_FSYNC"] = "0"


def pytest_configure(config: pytest.Config) -> None:
    """Give each process of a parallel run one thread: those of BLAS and torch would wait for each other's cores.

    The processes start after this, and inherit it, as do the commands that tests start.
    """
    if getattr(config.option, "numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        gc.enable()  # this process collects no tests


@pytest.fixture(autouse=True, scope="session")
def user_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what commands remember about the user out of the user's own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


def pytest_collection_finish() -> None:
    """Look for garbage from now on, but not among modules and tests."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Let the end of the process find everything: nanobind, which triton uses, prints what is left."""
    gc.unfreeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests, and scale the examples of tests that name a number.

    At the end of a parallel run one process would wait for the other. A profile alone would leave the numbers as they
    are.
    """
    items.sort(key=lambda item: LONGEST.index(item.name) if item.name in LONGEST else len(LONGEST))
    if PROFILE not in FACTORS:
        return
    tests = {item.function for item in items if isinstance(item, pytest.Function)}
    for test in filter(is_hypothesis_test, tests):
        # Where Hypothesis looks for a test's settings; it takes no second decorator.
        own = test._hypothesis_internal_use_settings
        if own.max_examples != settings.default.max_examples:
            test._hypothesis_internal_use_settings = settings(
                own, max_examples=max(1, round(FACTORS[PROFILE] * own.max_examples))
            )
