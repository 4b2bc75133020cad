"""Valid bodies of commands about pipelines, every field given, for tests that then spoil them."""

from typing import Any

from application.loading import load_pipeline
from application.tollbook import Tollbook
from tests.support.ledger import MODEL, USAGE

FIELDS: dict[str, dict[str, Any]] = {
    "publish_pipeline": {
        "pipeline": "rag",
        "stages": [{"name": "write", "model": MODEL, "licensed": False, "estimate": USAGE}],
    },
    "reserve_pipeline": {
        "customer": "cust-1",
        "pipeline": "rag",
        "stages": [
            {
                "stage": "write",
                "estimate": USAGE,
                "license": "lic-1",
                "facts": {"environment": "development"},
                "request_hash": "0a" * 32,
            }
        ],
        "ttl_seconds": 60,
    },
    "settle_pipeline": {
        "pipeline": "rag",
        "stages": [{"stage": "write", "usage": USAGE, "response_hash": "f9" * 32}],
    },
    "release_pipeline": {"pipeline": "rag", "reason": "gone"},
}


def pipeline_body(ledger: Tollbook, kind: str, name: str) -> dict[str, Any]:
    """Return the fields of a command besides its id, on a run of its own where it needs one."""
    body = dict(FIELDS[kind])
    position = ledger.store.head().position
    if kind != "publish_pipeline" and not load_pipeline(ledger.store, "rag", position).version:
        published = {"id": f"for-{name}", **FIELDS["publish_pipeline"]}
        ledger.run("publish_pipeline", published).result()
    if kind in {"settle_pipeline", "release_pipeline"}:
        run = {"id": f"run-{name}", **FIELDS["reserve_pipeline"]}
        del run["stages"]
        ledger.run("reserve_pipeline", run).result()
        body["reserved"] = run["id"]
    return body
