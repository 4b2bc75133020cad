"""The baseline of the HTTP figures: the same server and framework, answering without any ledger.

`python -m benchmarks.http_bare` prints its URL, and serves until it is killed. It reads the body as
JSON and answers as many bytes as a reserve does, so what it cannot do no ledger behind it can.
"""

import json
import socket

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

ANSWER = json.dumps(
    {
        "id": "r00000000",
        "position": 1_000_000,
        "held": {"amount": "0.005060000000", "currency": "USD"},
        "expires_at": "2026-01-01T00:05:00.000000Z",
    }
).encode()


async def answer(request: Request) -> Response:
    """Read the body and answer."""
    json.loads(await request.body())
    return Response(ANSWER, media_type="application/json")


def main() -> None:
    """Serve on a free port."""
    app = Starlette(
        routes=[
            Route("/v1/reservations", answer, methods=["POST"]),
            Route("/v1/reservations/{id}/settle", answer, methods=["POST"]),
        ]
    )
    listening = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    config = uvicorn.Config(app, loop="uvloop", http="httptools", access_log=False, log_level=40)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
