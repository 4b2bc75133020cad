"""Words for a text, one response a word, for many streams at once.

One thread sends the words of all streams, each when it is due, so that ten thousand idle streams
cost no more than their place in a queue. The text `boom` fails at once, `crumble` after half of the
words.
"""

import heapq
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import triton_python_backend_utils as triton

from adapters.triton.model_kit import (
    TOKENS_DEFAULT,
    Account,
    facts,
    generated,
    numbers,
    refused,
    tensor,
    texts,
    textual,
    work,
)


@dataclass(order=True)
class Stream:
    """One request and how far its answer has got; the earlier due comes first."""

    due: int
    number: int
    request: Any = field(compare=False)
    words: list[str] = field(compare=False)
    tokens_in: int = field(compare=False)
    pause: int = field(compare=False)
    fails_after: int = field(compare=False)
    begun: int = field(compare=False)
    sender: Any = field(compare=False)
    sent: int = field(compare=False, default=0)


class TritonPythonModel:
    """The streaming model of texts."""

    def initialize(self, args: dict[str, str]) -> None:
        """Begin the account of this model, and the one thread that answers."""
        self.account = Account(args["model_name"])
        self.waiting: list[Stream] = []
        self.count = 0
        self.changed = threading.Condition()
        self.is_ending = False
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def execute(self, requests: Sequence[Any]) -> None:
        """Take requests in; their answers follow from the other thread."""
        for request in requests:
            stream = self._stream(request)
            with self.changed:
                heapq.heappush(self.waiting, stream)
                self.changed.notify()

    def finalize(self) -> None:
        """Answer what was taken in, and end."""
        with self.changed:
            self.is_ending = True
            self.changed.notify()
        self.thread.join()

    def _stream(self, request: Any) -> Stream:
        text = texts(request)[0]
        limit = numbers(request, "MAX_TOKENS", TOKENS_DEFAULT, 1)[0]
        said = text.split()
        fails_after = 0 if "boom" in said else limit // 2 if "crumble" in said else limit + 1
        begun = time.monotonic_ns()
        self.count += 1
        return Stream(
            due=begun,
            number=self.count,
            request=request,
            words=generated(text, limit),
            tokens_in=len(said),
            pause=numbers(request, "DELAY_MS", 0, 1)[0] * 1_000_000,
            fails_after=fails_after,
            begun=begun,
            sender=request.get_response_sender(),
        )

    def _serve(self) -> None:
        while True:
            with self.changed:
                while not self.waiting:
                    if self.is_ending:
                        return
                    self.changed.wait()
                ahead = self.waiting[0].due - time.monotonic_ns()
                if ahead > 0:
                    self.changed.wait(ahead / 1e9)
                    continue
                stream = heapq.heappop(self.waiting)
            if self._advance(stream):
                stream.due = time.monotonic_ns() + stream.pause
                with self.changed:
                    heapq.heappush(self.waiting, stream)

    def _advance(self, stream: Stream) -> bool:
        """Send the next word of a stream, and tell whether there may be more."""
        if stream.sender.is_cancelled():
            return self._finish(stream, "cancelled")
        if stream.sent == stream.fails_after:
            stream.sender.send(refused("boom: the text is refused"))
            return self._finish(stream, "error")
        if stream.sent == len(stream.words):
            return self._finish(stream, "ok")
        if stream.sent == 0:
            work()
        stream.sender.send(
            triton.InferenceResponse(
                output_tensors=[
                    textual("OUT", [stream.words[stream.sent]], (1,)),
                    tensor(
                        "INPUT_TOKENS", [0 if stream.sent else stream.tokens_in], np.int64, (1,)
                    ),
                    tensor("OUTPUT_TOKENS", [1], np.int64, (1,)),
                    textual("REQUEST_ID", [stream.request.request_id()], (1,)),
                ]
            )
        )
        stream.sent += 1
        return True

    def _finish(self, stream: Stream, outcome: str) -> bool:
        line = facts(
            stream.request,
            outcome=outcome,
            tokens_in=stream.tokens_in,
            tokens_out=stream.sent,
            chunks=stream.sent,
        )
        device = time.monotonic_ns() - stream.begun
        self.account.write(line, batch=1, begun=stream.begun, device=device)
        stream.sender.send(flags=triton.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        return False
