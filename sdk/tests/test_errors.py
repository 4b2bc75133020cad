"""The tree of errors: codes, problem documents, exit codes."""

import copy
import gc
import weakref

import pytest
import tollbook
from tollbook import errors

TABLE = [
    (errors.TollbookError, "internal", False, 4),
    (errors.Invalid, "invalid", False, 2),
    (errors.NotFound, "not_found", False, 2),
    (errors.Refused, "refused", False, 3),
    (errors.Conflict, "conflict", False, 3),
    (errors.Unavailable, "unavailable", True, 4),
    (errors.Unknown, "unknown", False, 4),
    (errors.Interrupted, "interrupted", False, 130),
    (errors.Tampered, "tampered", False, 1),
]


@pytest.mark.parametrize(("kind", "code", "retryable", "status"), TABLE)
def test_each_error_has_its_code_and_exit(
    kind: type[errors.TollbookError], code: str, retryable: bool, status: int
) -> None:
    error = kind("it went wrong")
    assert (error.code, error.retryable, errors.exit_code(error)) == (code, retryable, status)


def test_the_docstring_draws_the_whole_tree() -> None:
    assert errors.__doc__ is not None
    # Others may have classes of their own in this process: the server's transport has.
    ours = [
        each for each in errors.TollbookError.__subclasses__() if each.__module__ == errors.__name__
    ]
    assert ours
    for kind in ours:
        assert f"── {kind.__name__} " in errors.__doc__
        assert any(row[0] is kind for row in TABLE)


def test_a_foreign_error_is_internal() -> None:
    assert errors.exit_code(ZeroDivisionError()) == errors.EXIT_UNAVAILABLE


def test_a_problem_document_has_code_title_detail_and_facts() -> None:
    error = errors.Refused(
        "too little money", code="insufficient_balance", available="1", required="2"
    )
    assert error.problem() == {
        "code": "insufficient_balance",
        "title": "Refused by a rule",
        "detail": "too little money",
        "available": "1",
        "required": "2",
    }


def test_facts_cannot_replace_members_of_the_problem() -> None:
    with pytest.raises(TypeError, match="title"):
        errors.Invalid("no", title="mine")


def test_an_error_can_be_sent_to_another_process() -> None:
    """A pool of processes sends its errors this way."""
    error = errors.Conflict("again", code="id_reused", field="amount")
    copied = copy.copy(error)  # copying goes through the same door as pickling
    assert copied is not error
    assert (type(copied), copied.problem()) == (errors.Conflict, error.problem())


def test_an_error_that_is_kept_as_a_value_holds_no_frames() -> None:
    """The circle of an error, its frame and whatever is at hand there is broken at once."""

    class Hand:
        """Something at hand, of which can be told whether it is still there."""

    def fail(hand: Hand) -> weakref.ref[Hand]:
        problem = errors.Invalid("not yet")
        try:
            try:
                int("no number")
            except ValueError as error:
                raise errors.Invalid.because("field", 1, "a rule") from error
        except errors.Invalid as error:
            problem = error.kept()
        assert (problem.__traceback__, problem.__context__, problem.__cause__) == (None,) * 3
        assert problem.problem()["field"] == "field"
        return weakref.ref(hand)

    gc.disable()
    try:
        hand = fail(Hand())
        assert hand() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x" * 10**6, "'" + "x" * 76 + "..."),
        (10**5000, "an integer of 16610 bits"),
        ("\ud800\n", "'\\ud800\\n'"),
        ([1] * 10**6, "a list"),
        (None, "None"),
    ],
    ids=["long", "number", "surrogate", "list", "none"],
)
def test_a_hostile_value_is_shown_short_and_in_ascii(value: object, shown: str) -> None:
    assert errors.shorten(value) == shown
    problem = errors.Invalid.because("field", value, "small").problem()
    assert len(problem["value"].encode()) <= errors.SHOWN_VALUE_LIMIT


def test_what_is_not_given_is_called_missing() -> None:
    assert (
        errors.Invalid.because("field", None, "small").message == "field is missing: must be small"
    )


def test_the_package_exports_what_it_says() -> None:
    assert sorted(tollbook.__all__) == tollbook.__all__
    offered = {name for name in vars(tollbook) if name[0].isupper()} | {"__version__"}
    assert offered == set(tollbook.__all__)
