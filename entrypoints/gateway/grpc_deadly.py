"""Deadly requests over gRPC: what of a message and of a model's configuration tells them."""

from typing import Any

from tollbook.errors import NotFound, Unavailable
from tritonclient.grpc import model_config_pb2 as mc

from adapters.triton.grpc_client import ServerError, ServerLost, TritonGrpc
from entrypoints.gateway import deadly


async def check(request: Any, client: TritonGrpc) -> None:
    """Refuse what no server would survive; raises Unavailable where this one does not answer."""
    shapes = {each.name: each.shape for each in request.inputs}
    classified = [each.name for each in request.outputs if deadly.CLASSIFICATION in each.parameters]
    if not deadly.is_suspect(shapes, classified):
        return
    try:
        config = await client.config(request.model_name, request.model_version)
    except ServerLost:
        raise Unavailable("no server behind this gateway answers: try later") from None
    except ServerError as error:
        raise NotFound(error.details) from None
    deadly.check(_model(config), shapes, classified)


def _model(config: Any) -> deadly.Model:
    texts = (each.name for each in config.output if each.data_type == mc.TYPE_STRING)
    batches = config.max_batch_size > 0 or config.HasField("ensemble_scheduling")
    return deadly.Model(frozenset(texts), batches)
