"""What a request leaves behind: its id, one line of the log, a count, and a span."""

import gzip
import io
import json
import logging
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from entrypoints.http import logs
from entrypoints.http.logs import Logging, LogWriter
from tests.support.ledger import MODEL, USAGE, price_book
from tests.support.serve_process import serve_process

SECRET_NAME = "Ada Augusta Byron"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


class Collector(ThreadingHTTPServer):
    """A real receiver of OTLP over HTTP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiving)
        self.spans: list[Any] = []
        self.resources: list[Any] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Receiving(BaseHTTPRequestHandler):
    """Decodes what is exported."""

    def do_POST(self) -> None:
        """Take spans."""
        collector = self.server
        assert isinstance(collector, Collector)
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            collector.resources.append(resource.resource)
            for scope in resource.scope_spans:
                collector.spans += scope.spans
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Walked(NamedTuple):
    """What a short life of a server left behind."""

    log: str
    metrics: str
    answers: dict[str, httpx.Response]
    collector: Collector
    secrets: list[str]
    ledger: list[Any]


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walked]:
    """Serve, ask for a few things, stop, and keep everything that was said."""
    collector = Collector()
    environment = {
        "TOLLBOOK_LOG_LEVEL": "info",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
    }
    folder = tmp_path_factory.mktemp("walk") / "ledger"
    answers: dict[str, httpx.Response] = {}
    with serve_process(folder, environment=environment) as served:
        headers = {"Authorization": f"Bearer {served.admin_key}", "X-Request-Id": "walk-1"}
        client = httpx.Client(base_url=served.url, headers=headers, timeout=20)
        customer = {"id": "cust-1", "name": SECRET_NAME, "currency": "USD"}
        trace = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-Id": "walk-2"}
        reserve = {"id": "r-1", "customer": "cust-1", "model": MODEL, "estimate": USAGE}
        answers["prices"] = client.post("/v1/prices", json=price_book())
        answers["customer"] = client.post("/v1/customers", json=customer)
        grant = {"id": "g-1", "amount": "10", "kind": "paid"}
        answers["grant"] = client.post("/v1/customers/cust-1/grants", json=grant)
        answers["reserve"] = client.post("/v1/reservations", json=reserve, headers=trace)
        answers["missing"] = client.get("/v1/customers/nobody")
        answers["nowhere"] = client.get("/v1/secret-path?token=secret-query")
        bad = {"Authorization": f"Bearer {served.admin_key}x", "X-Request-Id": "no good\tid"}
        answers["refused"] = httpx.get(f"{served.url}/v1/prices", headers=bad)
        key = client.post("/v1/keys", json={"role": "auditor"}).json()["key"]
        ledger = client.get("/v1/events").json()["events"]
        metrics = client.get("/metrics")
        answers["metrics"] = metrics
        client.close()
        secrets = [str(served.admin_key).split("_")[3], key.split("_")[3]]
    log = (folder.parent / "ledger.serve.log").read_text("utf-8")
    yield Walked(log, metrics.text, answers, collector, secrets, ledger)
    collector.shutdown()
    collector.server_close()


def lines_of(walked: Walked) -> list[dict[str, Any]]:
    """Read the log; every line is one JSON document."""
    return [json.loads(line) for line in walked.log.splitlines()]


def test_every_request_is_one_line(walked: Walked) -> None:
    lines = [line for line in lines_of(walked) if line["message"] == "request"]
    assert len(lines) == 10
    reserve = next(line for line in lines if line["request_id"] == "walk-2")
    key = walked.answers["reserve"].request.headers["authorization"].split("_")[2]
    assert (reserve["method"], reserve["route"]) == ("POST", "/v1/reservations")
    assert (reserve["status"], reserve["key"], reserve["level"]) == (201, key, "info")
    assert reserve["ms"] > 0
    nowhere = next(line for line in lines if line["route"] == "(none)")
    assert nowhere["status"] == 404


def test_neither_log_nor_metrics_nor_spans_hold_a_secret_or_a_name(walked: Walked) -> None:
    spans = str(walked.collector.spans)
    for said in (walked.log, walked.metrics, spans):
        assert said
        for secret in (*walked.secrets, SECRET_NAME, "secret-path", "secret-query"):
            assert secret not in said
    assert "cust-1" not in walked.metrics


def test_a_request_id_is_taken_over_or_made_and_always_answered(walked: Walked) -> None:
    assert walked.answers["customer"].headers["x-request-id"] == "walk-1"
    made = walked.answers["refused"].headers["x-request-id"]
    assert re.fullmatch(r"req_[0-9a-f]{24}", made)


def test_events_carry_the_id_of_the_key(walked: Walked) -> None:
    held = next(event for event in walked.ledger if event["name"] == "reservation_held")
    key = walked.answers["reserve"].request.headers["authorization"].split("_")[2]
    assert held["actor"] == f"key:{key}"


def test_metrics_are_what_prometheus_reads(walked: Walked) -> None:
    assert walked.answers["metrics"].headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(walked.metrics)}
    requests = {
        (sample.labels["method"], sample.labels["route"], sample.labels["status"]): sample.value
        for sample in families["tollbook_http_requests"].samples
        if sample.name.endswith("_total")
    }
    assert requests["POST", "/v1/reservations", "2xx"] == 1
    assert requests["GET", "/v1/customers/{customer}", "4xx"] == 1
    assert requests["GET", "(none)", "4xx"] == 1
    values = {
        sample.name: sample.value
        for family in families.values()
        for sample in family.samples
        if not sample.labels
    }
    assert values["tollbook_keys_refused_total"] == 1
    assert values["tollbook_rate_limited_total"] == 0
    assert values["tollbook_batch_commands_count"] == 4
    assert values["tollbook_batch_commands_sum"] == 4
    assert values["tollbook_commit_seconds_count"] == 4
    assert values["tollbook_commands_waiting"] == 0
    assert values["tollbook_ready"] == 1
    assert values["tollbook_ledger_position"] == 4
    assert values["tollbook_parked_events"] == 0
    assert values["tollbook_parked_usage"] == 0
    assert {"tollbook_projection_lag_events", "tollbook_projection_lag_seconds"} <= values.keys()
    assert "tollbook_build_info" in families


def test_a_span_follows_the_senders_trace_and_has_the_wait_inside(walked: Walked) -> None:
    spans = [span for span in walked.collector.spans if span.trace_id.hex() == TRACE]
    request = next(span for span in spans if span.name == "POST /v1/reservations")
    wait = next(span for span in spans if span.name == "decide and commit")
    assert len(spans) == 2
    assert request.parent_span_id.hex() == PARENT
    assert wait.parent_span_id == request.span_id
    assert request.start_time_unix_nano <= wait.start_time_unix_nano
    assert wait.end_time_unix_nano <= request.end_time_unix_nano
    attributes = {each.key: each.value for each in request.attributes}
    assert attributes["http.route"].string_value == "/v1/reservations"
    assert attributes["http.response.status_code"].int_value == 201
    assert attributes["tollbook.request_id"].string_value == "walk-2"
    names = {each.key: each.value.string_value for each in walked.collector.resources[0].attributes}
    assert names["service.name"] == "tollbook"


def test_every_request_is_a_span(walked: Walked) -> None:
    roots = [span for span in walked.collector.spans if span.name != "decide and commit"]
    assert len(roots) == 10


def test_a_line_is_written_by_another_thread_and_lost_ones_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "LINES_MAX", 5)
    monkeypatch.setattr(logs, "PAUSE_SECONDS", 60)
    stream = Gate()
    with Logging("info", stream):
        logger = logging.getLogger("tollbook.test")
        logger.info("first")
        assert stream.entered.wait(10)
        for number in range(9):
            logger.info("line %s", number)
        stream.open.set()
    written = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["message"] for line in written] == [
        "first",
        *(f"line {number}" for number in range(5)),
        "4 lines were lost",
    ]


class Gate(io.StringIO):
    """A stream whose reader is asleep until it is woken."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.open = threading.Event()

    def write(self, text: str) -> int:
        """Wait for the reader."""
        self.entered.set()
        self.open.wait(10)
        return super().write(text)


def test_a_reader_that_went_away_stops_nobody(tmp_path: Path) -> None:
    stream = (tmp_path / "log").open("w", encoding="utf-8")
    writer = LogWriter(stream)
    stream.close()
    record = logging.LogRecord("tollbook.test", logging.INFO, "", 1, "gone", None, None)
    writer.emit(record)
    writer.close()
    assert (tmp_path / "log").read_text("utf-8") == ""


def test_an_error_is_logged_with_its_traceback_in_one_line() -> None:
    stream = io.StringIO()
    with Logging("warning", stream):
        try:
            int("on purpose")
        except ValueError:
            logging.getLogger("tollbook.test").exception("it failed")
        logging.getLogger("tollbook.test").info("nobody wants to know")
    (line,) = stream.getvalue().splitlines()
    assert "'on purpose'" in json.loads(line)["traceback"]
