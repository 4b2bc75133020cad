"""`tollbook serve` as users start it: who probes is scored, flagged, and security is told."""

from pathlib import Path

import httpx

from tests.support.receiver import SECRET, receiver
from tests.support.serve_process import serve_process


def test_a_prober_is_flagged_and_security_hears_of_it(tmp_path: Path) -> None:
    with receiver() as security:
        environment = {
            "TOLLBOOK_SECURITY_WEBHOOK_URL": security.url,
            "TOLLBOOK_SECURITY_WEBHOOK_SECRET": SECRET,
        }
        with serve_process(tmp_path / "ledger", environment=environment) as served:
            headers = {"Authorization": f"Bearer {served.admin_key}"}
            with httpx.Client(base_url=f"{served.url}/v1", headers=headers, timeout=30) as api:
                body = {"id": "ada", "name": "Ada", "currency": "USD"}
                api.post("/customers", json=body).raise_for_status()
                for number in range(12):
                    ask = {"customer": "ada", "estimate": {}, "model": f"model-{number % 5}"}
                    refused = api.post("/reservations", json=ask)
                    assert refused.json()["code"] == "unknown_model"
                (notice,) = security.wait_for(1)
                data = notice.body["data"]
                assert (notice.body["type"], data["case"]) == ("fraud.flagged", "ada.1")
                assert data["signs"] == [["probing", 55]]
                seen = api.get("/fraud/cases/ada.1", params={"wait_for": data["position"]}).json()
    assert security.wrong == []
    assert (seen["score"], seen["steps"][0]["actor"]) == (55, "scoring")
