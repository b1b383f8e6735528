"""`InputError` carries its code and facts, also between processes."""

import copy
import pickle

import pytest

from mvgeom.errors import InputError


def test_facts_are_attributes():
    error = InputError("rig.toml: no camera top", code="missing-view", path="rig.toml", view="top")
    assert str(error) == "rig.toml: no camera top"
    assert error.code == "missing-view"
    assert error.view == "top"
    assert error.facts == {"path": "rig.toml", "view": "top"}
    with pytest.raises(AttributeError, match="session"):
        _ = error.session


def test_a_prefix_keeps_code_and_facts():
    error = InputError("no camera top", code="missing-view", view="top", path=None).prefixed(
        "rig.toml: ", path="rig.toml"
    )
    assert (str(error), error.code) == ("rig.toml: no camera top", "missing-view")
    assert error.facts == {"view": "top", "path": "rig.toml"}


def test_advice_keeps_code_and_facts():
    for message in ("no camera top", "no camera top."):
        error = InputError(message, code="missing-view", view="top").advised("Give --view.")
        assert (str(error), error.code, error.facts) == ("no camera top. Give --view.", "missing-view", {"view": "top"})


def test_a_worker_process_can_send_it():
    error = InputError("no camera top", code="missing-view", view="top")
    for received in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (str(received), received.code, received.view) == ("no camera top", "missing-view", "top")
