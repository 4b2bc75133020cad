"""What a model has to be asked for, so that its answer tells what it is metered by.

Some backends count only where an input of type BOOL says so. The gateway sets it for clients that
leave it out, and they see nothing of what it brings; a client that says no is refused.
"""

from collections.abc import Mapping

from tollbook.errors import Invalid

from domain.meters_format import Meter
from domain.tensors import Tensors, says_yes


def check(meter: Meter, inputs: Tensors) -> None:
    """Refuse a request by whose own word its answer would not tell; raises Invalid."""
    for output, name in meter.ask.items():
        given = inputs.get(name)
        if given is not None and not says_yes(given):
            rule = f"true, or left out: the model is metered by its output {output}"
            raise Invalid.because(f"inputs.{name}", None, rule)


def lacking(meter: Meter, inputs: Tensors) -> Mapping[str, str]:
    """Return the inputs that a request leaves out, by the outputs that they bring."""
    return {output: name for output, name in meter.ask.items() if name not in inputs}
