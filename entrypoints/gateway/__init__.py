"""The metering gateway in front of Triton."""
