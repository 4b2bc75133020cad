"""What a run has to do without on this machine, for its head."""

from adapters.kafka import installation as kafka
from adapters.kafka.errors import KafkaUnavailable
from adapters.redis import installation as redis
from adapters.redis.errors import RedisUnavailable


def missing_servers() -> list[str]:
    """Say which servers are missing, what becomes of their tests, and why."""
    told = []
    try:
        kafka.find()
    except KafkaUnavailable as error:
        told.append(f"kafka: only librdkafka's mock broker, for the reduced set ({error})")
    try:
        redis.find()
    except RedisUnavailable as error:
        told.append(f"redis: none, its tests are skipped ({error})")
    return told
