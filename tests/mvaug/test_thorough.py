"""The property tests of the geometry and the augmentation once more, with ten times as many examples."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PROPERTY = """
from hypothesis import given, settings, strategies as st
calls = []

@given(number=st.integers())
def test_default(number):
    calls.append("default")

@given(number=st.integers())
@settings(max_examples=7)
def test_own(number):
    calls.append("own")

def test_count():
    print("COUNT", calls.count("default"), calls.count("own"))
"""


def run_pytest(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, arguments)]
    environment = os.environ | {"HYPOTHESIS_PROFILE": "thorough"}
    return subprocess.run(command, env=environment, cwd=TESTS.parent, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_thorough_profile_has_ten_times_as_many_examples(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    (tmp_path / "test_property.py").write_text(PROPERTY)
    outcome = run_pytest("-s", "-p", "no:xdist", "--rootdir", tmp_path, "-c", os.devnull, tmp_path)
    assert "COUNT 1000 70" in outcome.stdout, outcome.stdout + outcome.stderr


@pytest.mark.long
@pytest.mark.parametrize("package", ["mvgeom", "mvaug"])
def test_properties_hold_for_ten_times_as_many_examples(package: str) -> None:
    outcome = run_pytest("-x", TESTS / package)
    assert outcome.returncode == 0, outcome.stdout[-4000:]
