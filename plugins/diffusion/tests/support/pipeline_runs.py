"""Runs on tiny pipelines, for the tests: register one, distil it, export it, and load what was exported in a process
that knows nothing of Limbeck.
"""

import json
import os
import re
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import limbeck
from limbeck.manifest import Component
from limbeck.plugins.registry import register
from limbeck.randomness import Rng
from limbeck_diffusion.pipelines.exporters import CALL, CARD

CAN = {"gaussian", "denoiser", "features", "trainable_copy", "null_condition", "sampling"}
PROMPTS = ("a fox", "b", "dog in fog")
CLASSES = ("1", "7", "9")


@contextmanager
def registered():
    """`tiny_pipelines/pipeline`, teacher and generator: what image/diffusers is in the plugins of the modalities."""
    brought = [
        Component(
            kind, "pipeline", f"limbeck_diffusion.pipelines.loading:diffusers_{role}", summary="a pipeline",
            options=f"limbeck_diffusion.pipelines.options:Diffusers{role.title()}Options", can=CAN,
        )
        for kind, role in (("teacher", "teacher"), ("generator", "student"))
    ]  # fmt: skip
    with register(brought, name="tiny_pipelines"):
        yield


def recipe(name, family, folder, objective, lora, *, steps=2, updates=2, **more):
    """A recipe of a few updates; `lora` trains adapters on student and critic."""
    if objective == "dmd2":
        options = {"rollout": {"steps": steps}, "critic": {"updates": 1, "lora": {"rank": 2} if lora else None}}
        source = {"use": "prior"}
    else:
        options = {"sampling_steps": steps, "solver": "ddim", "times": {"nodes": 4}}
        source = {"use": "trajectory", "steps": 2, "sampler": "ddim"}
    teacher = {"use": "tiny_pipelines/pipeline", "model": str(folder), **more.pop("teacher", {})}
    return {
        "name": name,
        "teacher": teacher,
        "generator": {"use": "tiny_pipelines/pipeline", "init": "teacher", **({"lora": {"rank": 4}} if lora else {})},
        "objective": {"use": objective, **options},
        "data": {"use": "prompts", "prompts": CLASSES if family == "dit" else PROMPTS},
        "source": source,
        "train": {"steps": updates, "batch_size": 2, "lr": 5e-3, "seed": 0, "log_every": 1},
        "evaluate": {"grid": 0, "compare": False},
        "report": {"write": False},
        **more,
    }


class Given(Rng):
    """Hands out tensors by purpose."""

    def __init__(self, tensors):
        super().__init__(0)
        self.tensors = tensors

    def normal(self, purpose, shape, dtype=torch.float32):
        return self.tensors[purpose].to(dtype).reshape(shape)


# A process of its own: no limbeck on its path. Latents in, latents (or pictures) out.
FRESH = """
import json, sys
import torch
from safetensors.torch import load_file, save_file

assert "limbeck" not in sys.modules
torch.set_num_threads(1)
jobs = json.load(open(sys.argv[1]))
for job in jobs:
    names = {}
    import os
    os.chdir(job["folder"])
    exec(job["code"], names)
    pipe = names["pipe"]
    pipe.set_progress_bar_config(disable=True)
    given = load_file(job["inputs"]) if job["inputs"] else {}
    torch.manual_seed(job["seed"])
    with torch.no_grad():
        out = pipe(**job["given"], **given, **job["call"], return_dict=False)[0]
    save_file({"out": torch.as_tensor(out).contiguous()}, job["out"])
assert not [name for name in sys.modules if name.split(".")[0].startswith("limbeck")]
"""


def expected(run, seed):
    """Our own samples, the pipeline's `latents=` (None where it draws them itself), in the pipeline's own order of
    draws: from torch's global generator."""
    student, sampler, steps = run.generator(), run.built.sampler, run.built.sampling_steps
    layout, event = student.family.layout, student.space.event
    words = CLASSES[:2] if student.prompts is None else PROMPTS[:2]
    shape = torch.zeros(2, *event).shape
    like = layout.to(torch.zeros(shape)).shape
    drawn = student.prompts is None  # DiT takes no latents
    if not drawn:
        latents = torch.randn(like, generator=torch.Generator().manual_seed(seed + 1))
    torch.manual_seed(seed)
    if drawn:
        latents = torch.randn(like)
    noise = {f"renoise/{k}": layout.back(torch.randn(like), shape) for k in range(steps - 1)}
    with torch.no_grad():
        cond = student.encode(list(words))
        made = sampler(student, cond, steps=steps, rng=Given(noise), noise=layout.back(latents, shape)).value
        if drawn:
            return (student.space.codec.decode(made) / 2 + 0.5).clamp(0, 1), None, words
    return layout.to(made), latents, words


def job(run, exported, base, folder, name, seed=3):
    """What the fresh process has to do for one export, and what it has to find."""
    wanted, latents, words = expected(run, seed)
    inputs = folder / f"{name}-in.safetensors"
    if latents is not None:
        save_file({"latents": latents.contiguous()}, inputs)
    code = card_code(exported).replace(f'"{Path(base).name}"', repr(str(base)))
    call = json.loads((exported / CALL).read_text())
    drawn = latents is None
    given = {"class_labels": [int(word) for word in words]} if drawn else {"prompt": list(words)}
    given["output_type"] = "pt" if drawn else "latent"
    out = folder / f"{name}-out.safetensors"
    found = {
        "folder": str(exported), "code": code, "call": call, "given": given, "seed": seed,
        "inputs": None if drawn else str(inputs), "out": str(out),
    }  # fmt: skip
    return found, wanted


def card_code(exported):
    """The lines of the model card that load the pipeline."""
    block = re.search(r"```python\n(.*?)```", (exported / CARD).read_text(), re.DOTALL)[1]
    return block[: block.index("torch.manual_seed")]


def reload(jobs, folder):
    """Run all jobs in one fresh process; its outputs, in order."""
    listed, script = folder / "jobs.json", folder / "fresh.py"
    listed.write_text(json.dumps(jobs))
    script.write_text(textwrap.dedent(FRESH))
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    done = subprocess.run(
        [sys.executable, str(script), str(listed)], capture_output=True, text=True, env=environment, timeout=600
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [load_file(job["out"])["out"] for job in jobs]


def distilled(folder, content):
    with registered():
        return limbeck.distill(content, out=folder, progress=False)
