"""
All steps run where a socket to anywhere but this machine is an error, in every process they start.

An audit hook in `sitecustomize` sees each socket that Python code opens, in all libraries; where
the system allows it, the processes also have a network namespace with nothing but loopback, so that
native code finds no network either.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pipeline
import pytest
from encoders import exported
from steps import running

import sampan
from sampan.weights.digests import weights_digest

GUARD = """
import ipaddress
import os
import socket
import sys

WATCHED = {
    "socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind", "socket.getaddrinfo",
    "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo",
}


def is_here(host):
    if host in (None, "", "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def guard(event, args):
    if event not in WATCHED:
        return
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = args[0]
    else:
        address = args[-1]
        if not isinstance(address, tuple):  # a path, or connected already
            return
        host = address[0]
        if event == "socket.bind" and host == "":
            host = "0.0.0.0"
    if not is_here(host):
        with open(os.environ["NETWORK_LOG"], "a") as log:
            log.write(f"{event} {host!r} {sys.argv[:4]}\\n")
        raise OSError(f"no network in this test: {event} {host!r}")


sys.addaudithook(guard)
with open(os.environ["NETWORK_LOG"] + ".pids", "a") as pids:
    pids.write(f"{os.getpid()}\\n")
"""
ALL = """
import json
import sys

from sampan.cli import main

if __name__ == "__main__":
    for words in json.load(open(sys.argv[1])):
        if code := main(words):
            sys.exit(f"{words[0]} ended with {code}")
"""
LONELY = ["unshare", "--user", "--map-root-user", "--net"]


def can_be_alone() -> bool:
    tools = shutil.which("unshare") and shutil.which("ip")
    up = [*LONELY, "ip", "link", "set", "lo", "up"]
    return bool(tools) and subprocess.run(up, capture_output=True, check=False).returncode == 0


class Guarded:
    """Runs commands under the guard."""

    def __init__(self, folder: Path) -> None:
        (folder / "guard").mkdir()
        (folder / "guard/sitecustomize.py").write_text(GUARD)
        self.log = folder / "network.log"
        more = {"PYTHONPATH": str(folder / "guard"), "NETWORK_LOG": str(self.log)}
        self.environment = pipeline.environment_of(**more)
        self.environment["PYTHONPATH"] += os.pathsep + os.environ.get("PYTHONPATH", "")
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):  # a job's own doing, not ours
            self.environment.pop(name, None)
        alone = [*LONELY, "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        self.prefix = alone if can_be_alone() else []

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.prefix, sys.executable, *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def attempts(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def processes(self) -> int:
        return len(set(Path(f"{self.log}.pids").read_text().split()))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A CLIP of random numbers, as safetensors and as ONNX."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    plain, onnx = (tmp_path_factory.mktemp(name) for name in ("clip", "onnx"))
    names = ["<pad>", "<unk>", "<start>", "<end>", "one", "deux", "drei"]
    made = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    tower = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    ids = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    text = tower | ids | {"vocab_size": len(names), "max_position_embeddings": 16}
    vision = tower | {"image_size": 32, "patch_size": 16}
    for part in (
        CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)),
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        PreTrainedTokenizerFast(
            tokenizer_object=made, pad_token="<pad>", unk_token="<unk>", eos_token="<end>"
        ),
    ):
        part.save_pretrained(plain)
    return plain, exported.clip(plain, onnx)


def config_of(folder: Path, plain: Path, onnx: Path) -> dict[str, Any]:
    config = running.pictures(folder, rows=48, rows_per_shard=16)
    dataset = config["datasets"]["pictures"]
    dataset["features"] = {"image": ["clip", "onnx-clip"]}
    shared = {"output": "projection", "memory_mb": 1000}
    config["encoders"] = {
        "clip": {"kind": "transformers", "path": str(plain), "digest": weights_digest(plain)}
        | shared,
        "onnx-clip": {"kind": "onnx", "path": str(onnx), "digest": weights_digest(onnx, "onnx")}
        | shared,
    }
    inputs = ["image.clip", "image.onnx-clip"]
    config["models"] = {
        "kinds": {"dataset": "pictures", "task": "classify", "inputs": inputs, "epochs": 2}
    }
    return config


@pytest.fixture
def guarded(tmp_path: Path) -> Guarded:
    return Guarded(tmp_path)


def test_no_step_touches_the_network(guarded, folders, tmp_path):
    config = config_of(tmp_path, *folders)
    results = pipeline.results_of(config)
    spec = json.dumps({"config": config})
    page = str(tmp_path / "report.html")
    commands = [
        *pipeline.commands(config, threads=2),
        running.training(config, "kinds"),
        running.training(config, "kinds", "evaluate"),
        ["report", "--spec", spec, "--results", str(results), "--out", page],
    ]
    (tmp_path / "commands.json").write_text(json.dumps(commands))
    (tmp_path / "all.py").write_text(ALL)

    done = guarded.python(str(tmp_path / "all.py"), str(tmp_path / "commands.json"))

    assert done.returncode == 0, done.stderr
    assert guarded.attempts() == ""
    assert guarded.processes() > 1 + 2  # the workers of both extractions were guarded too
    verbs = {words[0] for words in commands}
    assert verbs == {
        "scan", "index", "commit", "preprocess", "extract", "train", "evaluate", "report",
    }  # fmt: skip
    found = sampan.open(results / "pictures")
    for name in ("image.clip", "image.onnx-clip"):
        assert int(found[f"{name}.valid"].sum()) == 47


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.create_connection(('192.0.2.1', 80), 1)",
        "import socket; socket.getaddrinfo('huggingface.co', 443)",
        "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
        "import multiprocessing as m, socket; p = m.get_context('spawn').Process("
        "target=socket.gethostbyname, args=('huggingface.co',)); p.start(); p.join()",
        "import os; os.environ['HF_HUB_OFFLINE'] = '0'; import huggingface_hub as h; "
        "h.snapshot_download('org/name', local_dir='never', max_workers=1)",
    ],
    ids=["connect", "look up", "datagram", "child", "hub"],
)
def test_the_guard_notices(code, guarded, tmp_path):
    (tmp_path / "code.py").write_text(f"if __name__ == '__main__':\n    {code}\n")

    guarded.python(str(tmp_path / "code.py"))

    assert guarded.attempts().startswith("socket.")


def test_the_guard_lets_loopback_pass(guarded):
    code = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); "
        "socket.create_connection(s.getsockname()).close()"
    )

    done = guarded.python("-c", code)

    assert (done.returncode, guarded.attempts()) == (0, ""), done.stderr
