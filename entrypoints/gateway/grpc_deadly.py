"""Deadly requests over gRPC: what of a message and of a model's configuration tells them."""

import re
from typing import Any

from tollbook.errors import Invalid, NotFound, Unavailable
from tritonclient.grpc import model_config_pb2 as mc

from adapters.triton.grpc_client import ServerError, ServerLost, TritonGrpc
from domain.tensors import RANK_MAX, checked_shape
from entrypoints.gateway import deadly

_VERSION = re.compile("[0-9]{0,18}")


async def check(request: Any, client: TritonGrpc) -> None:
    """Refuse what no server would survive; raises Unavailable where this one does not answer."""
    inputs, version = request.inputs, request.model_version
    classified = [each.name for each in request.outputs if deadly.CLASSIFICATION in each.parameters]
    if not deadly.is_suspect({each.name: each.shape for each in inputs}, classified):
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
    deadly.check(_model(config), shapes, classified)


def _model(config: Any) -> deadly.Model:
    texts = (each.name for each in config.output if each.data_type == mc.TYPE_STRING)
    batches = config.max_batch_size > 0 or config.HasField("ensemble_scheduling")
    return deadly.Model(frozenset(texts), batches)
