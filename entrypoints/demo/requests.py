"""What the demo's clients send over gRPC: requests as any client of our models would write them."""

from tritonclient.grpc import service_pb2 as pb

IMAGE_SHAPE = (8, 8, 3)
_IMAGE_BYTES = 8 * 8 * 3


def text_request(model: str, text: str, limit: int, *, batched: bool = True) -> bytes:
    """Ask a model of texts for so many words; one that streams takes no batch dimension."""
    request = pb.ModelInferRequest(model_name=model)
    shape = [1, 1] if batched else [1]
    request.inputs.add(name="TEXT", datatype="BYTES", shape=shape)
    request.inputs.add(name="MAX_TOKENS", datatype="INT32", shape=shape)
    packed = text.encode()
    request.raw_input_contents.append(len(packed).to_bytes(4, "little") + packed)
    request.raw_input_contents.append(limit.to_bytes(4, "little"))
    return bytes(request.SerializeToString())


def image_request(count: int, brightness: int) -> bytes:
    """Ask about so many small images of one colour."""
    request = pb.ModelInferRequest(model_name="image")
    request.inputs.add(name="IMAGE", datatype="UINT8", shape=[count, *IMAGE_SHAPE])
    request.raw_input_contents.append(bytes([brightness]) * (_IMAGE_BYTES * count))
    return bytes(request.SerializeToString())
