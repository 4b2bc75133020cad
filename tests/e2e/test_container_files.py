"""The Dockerfile and the compose file, held against the program: no container engine is needed.

What an image would hold is laid out in a folder and run there; what the compose file starts is
given to the program's own parsers.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tollbook.cli import build_parser

from adapters.child_servers.ports import LOOPBACK
from adapters.redis.installation import MAJOR_VERSION_MIN
from adapters.triton.command import Ports, command_line
from adapters.triton.installation import Installation
from adapters.triton.server import MODELS
from entrypoints.demo import kinds
from entrypoints.gateway.config import GatewayConfig, read_config
from entrypoints.settings import settings_from

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: each for name, each in COMPOSE["services"].items() if "build" in each}
COPIED = re.compile(r"^COPY (?!--from)(.+) (\S+)$", re.MULTILINE)


def image_files() -> list[tuple[str, str]]:
    """Return (source, target) of everything that the final stage copies from the checkout."""
    stage = DOCKERFILE.rpartition("\nFROM ")[2]
    return [
        (source, target) for sources, target in COPIED.findall(stage) for source in sources.split()
    ]


def test_the_image_holds_every_room_that_the_program_imports(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.mkdir()
    for source, target in image_files():
        origin, place = ROOT / source, image / target
        assert origin.exists(), f"the Dockerfile copies {source}, which is not there"
        if origin.is_dir():
            shutil.copytree(origin, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(origin, place / source if target == "./" else place)
    # Isolated from the checkout: only the folder that stands for the image is on the path.
    program = (
        f"import sys; sys.path[:] = [p for p in sys.path if p not in ('', {str(ROOT)!r})]; "
        f"sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in str(f).lower()]; "
        f"sys.path[:0] = [{str(image)!r}, {str(image / 'sdk/src')!r}]; "
        "import entrypoints, entrypoints.http.app, entrypoints.cli.serve, entrypoints.projecting; "
        "print(entrypoints.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(image))


def test_the_builder_is_sent_nothing_but_what_the_image_copies() -> None:
    sent = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
    }
    copied = {
        source.rstrip("/")
        for sources, _ in COPIED.findall(DOCKERFILE)
        for source in sources.split()
    }
    assert sent == copied


def test_only_hashed_requirements_are_installed() -> None:
    for line in DOCKERFILE.replace("\\\n", " ").splitlines():
        if "pip install" in line:
            assert "--require-hashes" in line or "--no-deps" in line, line


@pytest.mark.parametrize("name", sorted(OURS))
def test_each_service_starts_a_command_that_the_program_has(name: str) -> None:
    args = build_parser().parse_args([str(word) for word in OURS[name]["command"]])
    assert callable(args.func)


def test_the_images_own_command_is_one_that_the_program_has() -> None:
    found = re.search(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert found is not None
    args = build_parser().parse_args(yaml.safe_load(found.group(1)))
    assert callable(args.func)


@pytest.mark.parametrize("name", sorted(OURS))
def test_the_settings_understand_each_services_environment(name: str, tmp_path: Path) -> None:
    environment = dict(OURS[name]["environment"])
    assert set(environment) <= documented_settings()
    url = tmp_path / "database.url"
    url.write_text("postgresql://tollbook:secret@postgres/tollbook\n", encoding="utf-8")
    environment["TOLLBOOK_DATABASE_FILE"] = str(url)
    environment["TOLLBOOK_DATA"] = "/var/lib/tollbook/ledger"  # as the image sets it
    settings = settings_from(None, None, environment)
    assert settings.database == "postgresql://tollbook:secret@postgres/tollbook"
    assert settings.data is None
    assert str(settings.master_key_file) == "/run/secrets/master.key"


def documented_settings() -> set[str]:
    """Return every setting that the page for operators names."""
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    return set(re.findall(r"`(TOLLBOOK_[A-Z_]+)`", page))


def test_every_secret_that_a_service_reads_is_given_to_it() -> None:
    for name, service in COMPOSE["services"].items():
        wanted = {
            value.removeprefix("/run/secrets/")
            for value in service["environment"].values()
            if str(value).startswith("/run/secrets/")
        }
        assert wanted == set(service["secrets"]), name
        assert wanted <= COMPOSE["secrets"].keys()


def test_ports_are_published_on_loopback_alone() -> None:
    for service in COMPOSE["services"].values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


def test_no_secret_stands_in_the_files() -> None:
    for service in COMPOSE["services"].values():
        for key, value in service["environment"].items():
            if any(word in key for word in ("PASSWORD", "KEY", "SECRET")):
                assert str(value).startswith("/run/secrets/"), key


def gateway_config() -> GatewayConfig:
    """Read the configuration that the gateway's service is given, where it expects it."""
    gateway = SERVICES["gateway"]
    (given,) = gateway["configs"]
    args = build_parser().parse_args(gateway["command"])
    assert args.config == given["target"]
    return read_config(ROOT / COMPOSE["configs"][given["source"]]["file"])


def triton_options() -> list[tuple[str, str]]:
    """Return the options of Triton's service, each with its value."""
    program, *words = SERVICES["triton"]["command"]
    assert program == "tritonserver"
    found = []
    for word in words:
        name, equals, value = word.partition("=")
        assert name.startswith("--"), word
        assert equals, word
        found.append((name, value))
    return found


def stages_of(model: str) -> set[str]:
    """Return the models that an ensemble asks; none for any other model."""
    text = (MODELS / model / "config.pbtxt").read_text("utf-8")
    return set(re.findall(r'model_name: "(\w+)"', text))


def test_the_gateway_asks_the_triton_beside_it_and_publishes_to_the_kafka_beside_it() -> None:
    (pool,) = gateway_config().pool
    assert (pool.grpc, pool.http) == ("triton:8001", "triton:8000")
    assert not {name for name, _ in triton_options()} & {"--grpc-port", "--http-port"}
    args = build_parser().parse_args(SERVICES["gateway"]["command"])
    assert args.kafka == "kafka:9092"
    assert args.topic == build_parser().parse_args(SERVICES["stream"]["command"]).topic
    assert SERVICES["kafka"]["environment"]["KAFKA_LISTENERS"].startswith("PLAINTEXT://:9092,")


def test_triton_loads_what_the_gateway_meters_and_the_stages_of_it() -> None:
    loaded = {value for name, value in triton_options() if name == "--load-model"}
    metered = {meter.name for meter in gateway_config().model}
    assert loaded == metered | {stage for model in metered for stage in stages_of(model)}
    assert loaded == set(kinds.MODELS), "these are the ones that the demo runs"


def test_triton_is_started_with_options_that_a_real_one_is_started_with_in_other_tests() -> None:
    nowhere = Path("nowhere")
    known = command_line(
        Installation(nowhere, nowhere, "3.11", nowhere),
        backends=nowhere,
        repository=MODELS,
        models=("textgen",),
        ports=Ports(1, 2, 3),
        shared_memory="",
        cache_bytes=1 << 20,
        traces=None,
    )
    names = {word.partition("=")[0] for word in known[1:]}
    assert {name for name, _ in triton_options()} <= names
    for option in ("--cache-config", "--exit-timeout-secs", "--allow-gpu-metrics"):
        assert f"{option}={dict(triton_options())[option]}" in known


def test_triton_finds_its_models_and_what_they_share() -> None:
    mounted = {}
    for each in SERVICES["triton"]["volumes"]:
        source, target, mode = each.split(":")
        assert mode == "ro"
        mounted[target] = ROOT / source
    assert mounted.pop(dict(triton_options())["--model-repository"]) == MODELS
    # As our own server lays it out: beside the stub that imports it.
    assert mounted == {"/opt/tritonserver/backends/python/adapters": ROOT / "adapters"}


@pytest.mark.parametrize("name", ["triton", "redis"])
def test_nobody_reaches_triton_or_redis_but_the_gateway(name: str) -> None:
    assert "ports" not in SERVICES[name]
    (network,) = SERVICES[name]["networks"]
    assert COMPOSE["networks"][network]["internal"] is True
    on_it = {other for other, each in SERVICES.items() if network in each.get("networks", ())}
    assert on_it == {name, "gateway"}


def test_the_gateway_asks_the_redis_beside_it_which_keeps_nothing() -> None:
    args = build_parser().parse_args(SERVICES["gateway"]["command"])
    assert args.redis == "redis://redis:6379/0"
    program, *words = SERVICES["redis"]["command"]
    assert program == "redis-server"
    settings = dict(zip(words[::2], words[1::2], strict=True))
    assert settings == {"--save": "", "--appendonly": "no", "--protected-mode": "no"}
    assert int(SERVICES["redis"]["image"].removeprefix("redis:")[0]) >= MAJOR_VERSION_MIN


def test_the_gateway_keeps_its_intents_where_it_may_write() -> None:
    args = build_parser().parse_args(SERVICES["gateway"]["command"])
    (volume,) = SERVICES["gateway"]["volumes"]
    assert volume["target"] == args.intents
    assert volume["bind"] == {"create_host_path": False}
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert f"{volume['source'].removeprefix('./')}/" in ignored


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_what_a_service_waits_for_can_come_true(name: str) -> None:
    profiles = SERVICES[name].get("profiles", [])
    for other, each in dict(SERVICES[name].get("depends_on", {})).items():
        if each["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other], other
        starts_with = SERVICES[other].get("profiles")
        assert starts_with is None or set(profiles) <= set(starts_with), other


def test_health_is_asked_where_each_service_listens() -> None:
    monitor = build_parser().parse_args(SERVICES["gateway"]["command"]).monitor_port
    for name, port in (("api", 8400), ("gateway", monitor), ("triton", 8000)):
        assert f"http://{LOOPBACK}:{port}/" in SERVICES[name]["healthcheck"]["test"][-1]


def test_no_service_but_the_database_has_any_capability() -> None:
    # The database's own image begins as root, to give its folder to the user it then becomes.
    for name, service in SERVICES.items():
        if name != "postgres":
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
