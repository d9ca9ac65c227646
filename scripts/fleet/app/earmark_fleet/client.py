"""What runs at a home: it asks the agent for the home's change of the start, and answers with the start so changed.

The agent clips and noises before it answers, in a process of its own that this code cannot reach into. It trusts
nothing here, for the server sends this file.
"""

from __future__ import annotations

import base64
import json
import socket

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()
PATIENCE_S = 300.0  # an agent trains each of its people


def ask(path: str, request: dict[str, str]) -> dict[str, str]:
    """One answer of the agent; raises RuntimeError with its reason where it refuses."""
    with socket.socket(socket.AF_UNIX) as agent:
        agent.settimeout(PATIENCE_S)
        agent.connect(path)
        agent.sendall(json.dumps(request).encode() + b"\n")
        with agent.makefile("rb") as answers:
            answer: dict[str, str] = json.loads(answers.readline() or b'{"error": "no answer"}')
    if "error" in answer:
        raise RuntimeError(f"the agent refuses: {answer['error']}")
    return answer


@app.train()  # type: ignore[untyped-decorator,unused-ignore]
def train(message: Message, context: Context) -> Message:
    """One round."""
    (start,) = message.content.array_records["arrays"].to_numpy_ndarrays()
    name = str(message.content.config_records["config"]["round"])
    content = base64.b64encode(np.ascontiguousarray(start, "<f4").tobytes()).decode()
    answer = ask(str(context.node_config["agent"]), {"call": "change", "round": name, "start": content})
    change = np.frombuffer(base64.b64decode(answer["change"]), "<f4").reshape(start.shape)
    arrays, metrics = ArrayRecord([start + change]), MetricRecord({"num-examples": 1})
    return Message(content=RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)
