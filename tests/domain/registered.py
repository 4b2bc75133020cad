"""A model of the registry in a few words: register, release and yank, all of it at noon."""

from typing import Any

from tollbook.times import format_instant

from domain import registry
from domain.commands import parse
from domain.outcomes import Decision, Refusal
from domain.registry import Model, evolve, unregistered
from domain.registry_commands import RegisterModel, ReleaseModelVersion, YankModelVersion
from tests.domain.examples import NOON


def decided(model: Model, kind: str, **body: Any) -> Decision:
    """Let the registry decide a command about a model, at noon."""
    command = parse(kind, {"id": "c", "model": model.name, **body})
    if isinstance(command, RegisterModel):
        return registry.decide_register(model, command)
    if isinstance(command, ReleaseModelVersion):
        return registry.decide_release(model, command, NOON)
    assert isinstance(command, YankModelVersion)
    return registry.decide_yank(model, command)


def after(model: Model, kind: str, **body: Any) -> Model:
    """Return a model after a command that is accepted."""
    decision = decided(model, kind, **body)
    assert not isinstance(decision, Refusal)
    (event,) = decision
    assert event.stream() == f"model-{model.name}"
    assert event.command_scope() == ""
    return evolve(model, event, NOON)


def registered(name: str = "org/gpt") -> Model:
    """Return a model without versions."""
    return after(unregistered(name), "register_model")


def released(model: Model, version: str = "1.0.0", **body: Any) -> Model:
    """Return a model with one more version."""
    return after(model, "release_model_version", version=version, **body)


def later(microseconds: int) -> str:
    """Return a time after noon as it travels."""
    return format_instant(NOON + microseconds)
