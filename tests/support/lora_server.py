"""A process that speaks vLLM's protocol for completions and adapters, as far as the trainer needs it.

    python lora_server.py BASE

Prints its port, and to standard error one JSON object per request. Adapters are put on the base by PEFT.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

BASE = sys.argv[1]
adapters: dict[str, str] = {}


def completions(body: dict[str, Any]) -> dict[str, Any]:
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(BASE), adapters[body["model"]]).eval()
    torch.manual_seed(0)
    return {"choices": [complete(model, place, prompt, body) for place, prompt in enumerate(body["prompt"])][::-1]}


def complete(model: Any, place: int, prompt: list[int], body: dict[str, Any]) -> dict[str, Any]:
    ids, logps = list(prompt), []
    while len(logps) < body["max_tokens"]:
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1] / body["temperature"]
        ids.append(int(torch.multinomial(logits.softmax(-1), 1)))
        logps.append(float(logits.log_softmax(-1)[ids[-1]]))
        if ids[-1] == END:
            break
    return {"index": place, "token_ids": ids[len(prompt) :], "logprobs": {"token_logprobs": logps}}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.reply({"data": [{"id": BASE}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        sys.stderr.write(json.dumps({"path": self.path, "body": body}) + "\n")
        if self.path == "/v1/load_lora_adapter":
            adapters[body["lora_name"]] = body["lora_path"]
            self.reply({})
        elif self.path == "/v1/unload_lora_adapter":
            del adapters[body["lora_name"]]
            self.reply({})
        else:
            self.reply(completions(body))

    def reply(self, body: dict[str, Any]) -> None:
        payload = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *args: Any) -> None:
        pass


END = AutoTokenizer.from_pretrained(BASE).eos_token_id
server = HTTPServer(("127.0.0.1", 0), Handler)
sys.stdout.write(f"{server.server_port}\n")
sys.stdout.flush()
server.serve_forever()
