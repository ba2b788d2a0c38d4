"""
A stand-in for what `torch.cuda` does between host and GPU, where there is none.

It writes down copies, events and waits in their order. What a GPU would do later is done at once,
so that values can be compared too.
"""

import itertools
from contextlib import contextmanager

import pytest
import torch


class Recorder:
    def __init__(self):
        self.log = []
        self.streams = [Stream(self, "work")]
        self.events = itertools.count()

    def says(self, *what):
        self.log.append(what)

    def named(self, *what):
        return [entry[1:] for entry in self.log if entry[0] in what]


class Stream:
    def __init__(self, recorder, name):
        self.recorder, self.name = recorder, name

    def wait_event(self, event):
        self.recorder.says("wait", self.name, event.number)


class Event:
    def __init__(self, recorder, **settings):
        self.recorder, self.settings = recorder, settings
        self.number = next(recorder.events)

    def record(self, stream=None):
        stream = stream or self.recorder.streams[-1]
        self.recorder.says("record", stream.name, self.number)

    def synchronize(self):
        self.recorder.says("host waits", self.number)

    def elapsed_time(self, other):
        self.recorder.says("between", self.number, other.number)
        return 250.0


def stand_in(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """For streams, events and pinned memory, until the test ends."""
    recorder = Recorder()
    empty = torch.empty

    @contextmanager
    def stream(entered):
        recorder.streams.append(entered)
        yield
        recorder.streams.pop()

    def pageable(*shape, pin_memory=False, **settings):
        recorder.says("allocate", pin_memory)
        return empty(*shape, **settings)

    copy = torch.Tensor.copy_

    def copied(self, other, non_blocking=False):
        recorder.says("copy", recorder.streams[-1].name, non_blocking)
        return copy(self, other)

    monkeypatch.setattr(torch.cuda, "Event", lambda **settings: Event(recorder, **settings))
    monkeypatch.setattr(torch.cuda, "Stream", lambda: Stream(recorder, "copies"))
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: recorder.streams[-1])
    monkeypatch.setattr(torch, "empty", pageable)
    monkeypatch.setattr(torch.Tensor, "copy_", copied)
    monkeypatch.setattr(
        torch.Tensor,
        "record_stream",
        lambda self, stream: recorder.says("used on", stream.name),
        raising=False,
    )
    return recorder
