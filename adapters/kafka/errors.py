"""What can go wrong between a folder of jars and a Kafka that answers."""


class KafkaUnavailable(Exception):
    """Kafka cannot be found or started on this machine; the message says why."""
