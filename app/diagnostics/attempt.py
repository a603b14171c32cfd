"""Attempts at what may crash, hang or abort, each in a child process that prints one JSON value."""

import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.processes import Task, ending, signal_with_parent

ANSWER = "pointserve-answer:"
REASON_LENGTH = 300
Entry = dict[str, Any]  # what the report says of one thing


@dataclass(frozen=True)
class Attempt:
    """What a child answered; ``reason`` says why there is no answer and is '' if there is one."""

    value: Any = None
    reason: str = ""


def answer(work: Callable[..., Any], *arguments: Any) -> None:
    """In the child: hand what ``work`` gives, JSON-able, to the parent. Whatever else is printed is ignored.

    The child does not outlive its parent.
    """
    signal_with_parent(signal.SIGKILL)
    print(f"\n{ANSWER}{json.dumps(work(*arguments))}", flush=True)


def attempt(task: Task, deadline_s: float) -> Attempt:
    """The answer of ``task``, waited for until ``deadline_s`` on the monotonic clock."""
    try:
        done = task.wait(deadline_s - time.monotonic())
    except TimeoutError:
        return Attempt(reason="gave no answer in the time allowed")
    answers = [line for line in _lines(done.stdout) if line.startswith(ANSWER)]
    if done.returncode == 0 and answers:
        return Attempt(json.loads(answers[-1].removeprefix(ANSWER)))
    last_words = next((line for line in reversed(_lines(done.stderr)) if line.strip()), "")
    why = f"{': ' if last_words else ''}{last_words.strip()[:REASON_LENGTH]}"
    return Attempt(reason=f"{ending(done.returncode)}{why}")


def reason_of(error: BaseException, after: str = "") -> str:
    """The first line of what ``error`` says, behind its type; ``after`` is what worked before it."""
    last = f" after {after}" if after else ""
    return f"{type(error).__name__}{last}: {error}".partition("\n")[0][:REASON_LENGTH]


def _lines(output: bytes) -> list[str]:
    return output.decode(errors="replace").splitlines()
