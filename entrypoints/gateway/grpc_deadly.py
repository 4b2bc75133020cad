"""Deadly requests over gRPC: what of a message and of a model's configuration tells them."""

import re
from typing import Any

from tollbook.errors import Invalid, NotFound, Unavailable
from tritonclient.grpc import model_config_pb2 as mc

from adapters.triton.grpc_client import ServerError, ServerLost, TritonGrpc
from domain.tensors import RANK_MAX, Tensor, check_texts, checked_shape
from entrypoints.gateway import deadly
from entrypoints.gateway.sequences import NAME

_TEXTS = "BYTES"
_VERSION = re.compile("[0-9]{0,18}")


async def check(request: Any, client: TritonGrpc) -> None:
    """Refuse what no server would survive; raises Unavailable where this one does not answer."""
    inputs, version = request.inputs, request.model_version
    _check_texts(request)
    sequence = _sequence(request.parameters)
    classified = [each.name for each in request.outputs if deadly.CLASSIFICATION in each.parameters]
    if not deadly.is_suspect({each.name: each.shape for each in inputs}, classified, sequence):
        return
    shapes = {it.name: checked_shape(it.name, it.shape[: RANK_MAX + 1]) for it in inputs}
    if not _VERSION.fullmatch(version):
        raise Invalid.because("model_version", version, "a number, or left out")
    try:
        config = await client.config(request.model_name, version)
    except ServerLost:
        raise Unavailable("no server behind this gateway answers: try later") from None
    except ServerError as error:
        raise NotFound(error.details) from None
    deadly.check(_model(config), shapes, classified, sequence)


def _check_texts(request: Any) -> None:
    """Refuse texts that are cut, which others' requests of the same batch would suffer from."""
    contents = request.raw_input_contents
    for index, each in enumerate(request.inputs):
        if each.datatype == _TEXTS:
            shape = checked_shape(each.name, each.shape[: RANK_MAX + 1])
            packed = contents[index] if contents else None
            listed = None if contents else each.contents.bytes_contents
            check_texts(each.name, Tensor(_TEXTS, shape, packed, listed))


def _sequence(parameters: Any) -> str:
    """Return the id of a request's sequence where that is a text."""
    return str(parameters[NAME].string_param) if NAME in parameters else ""


def _model(config: Any) -> deadly.Model:
    texts = (each.name for each in config.output if each.data_type == mc.TYPE_STRING)
    is_ensemble = config.HasField("ensemble_scheduling")
    told = [
        each.data_type
        for control in config.sequence_batching.control_input
        for each in control.control
        if each.kind == each.CONTROL_SEQUENCE_CORRID
    ]
    numbers = is_ensemble or any(each != mc.TYPE_STRING for each in told)
    return deadly.Model(frozenset(texts), config.max_batch_size > 0 or is_ensemble, numbers)
