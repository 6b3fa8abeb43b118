"""The plans of a proxy or device: kept in Python and in C++ alike."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from opentelemetry.trace import SpanKind
from tango_telemetry.activation import pass_through_tracer
from tango_telemetry.calls import plans
from tango_telemetry.calls.plans import ANY_PLACE, NO_CALLER, Plan
from tango_telemetry.state import state

native = pytest.importorskip("tango_telemetry_native.calls")
CODE, OTHER_CODE = pytest.importorskip.__code__, pytest.fixture.__code__


@pytest.fixture(params=["Python", "C++"])
def kept(request: pytest.FixtureRequest) -> Any:
    """An empty table."""
    native.configure_calls(print, bool, object, dict, state.epoch)
    return plans.Plans() if request.param == "Python" else native.Plans()


def plan_for(name: str | None, **others: Any) -> Plan:
    title = f"read {name}"
    return Plan(title, SpanKind.CLIENT, {"device": "a/b/c", "name": name}, pass_through_tracer(), **others)


def test_a_plan_is_found_where_it_was_made(kept: Any) -> None:
    begins, plan = object(), plan_for("x")
    assert kept.get((begins, CODE, 8, "x")) is None
    kept.put((begins, CODE, 8, "x"), state.epoch[0], plan)
    assert kept.get((begins, CODE, 8, "x")) is plan
    elsewhere = [
        (begins, CODE, 8, "y"),
        (begins, CODE, 10, "x"),
        (begins, OTHER_CODE, 8, "x"),
        (begins, None, NO_CALLER, "x"),
        (object(), CODE, 8, "x"),
    ]
    assert [kept.get(key) for key in elsewhere] == [None] * 5


def test_a_plan_holds_until_something_changes(kept: Any) -> None:
    key, before = (object(), None, ANY_PLACE, None), state.epoch[0]
    kept.put(key, before, plan_for("x"))
    state.changed()
    assert kept.get(key) is None
    kept.put(key, before, plan_for("decided before it changed"))
    assert kept.get(key) is None
    kept.put(key, state.epoch[0], plan_for("new"))
    assert kept.get(key).title == "read new"
    assert len(kept) == 1


def test_a_plan_for_every_name_is_made_for_the_name_that_is_asked_for(kept: Any) -> None:
    begins, plan = object(), plan_for("x", named=("read ", "name"))
    kept.put((begins, CODE, 8, "x"), state.epoch[0], plan)
    found = kept.get((begins, CODE, 8, "y"))
    assert found is plan
    assert found.for_name("x") is plan
    assert found.for_name("y") == plan_for("y", named=("read ", "name"))
    several = plan_for("x", named=(None, "name")).for_name(("a", "b"))
    assert (several.title, several.attributes["name"]) == ("read x", ("a", "b"))


def test_what_is_left_to_python_is_found_too(kept: Any) -> None:
    key, plan = (object(), CODE, 8, ("a", "b")), plan_for("x", in_python=True)
    kept.put(key, state.epoch[0], plan)
    assert kept.get(key) is plan


def test_plans_are_bounded_and_begin_anew_in_a_copy(kept: Any) -> None:
    begins = object()
    for number in range(2000):
        kept.put((begins, CODE, number, "x"), state.epoch[0], plan_for("x"))
    assert 0 < len(kept) <= 513
    assert kept.get((begins, CODE, 1999, "x")) is not None
    assert len(copy.copy(kept)) == len(pickle.loads(pickle.dumps(kept))) == 0
