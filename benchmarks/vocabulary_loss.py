"""The loss over a large vocabulary, chunk by chunk, against the same loss on dense logits: time and peak memory.

`python benchmarks/vocabulary_loss.py [--tokens 2048] [--vocab 131072] [--hidden 512] [--divergence forward_kl]`

Each measurement is a process of its own, because a process never gives back its peak. Memory is the peak of the
resident set during one forward and backward pass, above what inputs and weights (resident before) and the gradients of
hidden states and weight take. Needs Linux (/proc).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time


def resident(field: str) -> int:
    """Bytes of this process's resident set: `VmRSS` now, `VmHWM` at its peak."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))


def forget_peak() -> None:
    """From now on VmHWM counts from what is resident now."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def measure(kind: str, tokens: int, vocab: int, width: int, name: str) -> dict:
    """Seconds of a pass, its peak in bytes above inputs and weight gradients, and its value."""
    import torch

    from limbeck_text.losses.divergences import log_probs, token_divergence
    from limbeck_text.losses.head import Head
    from limbeck_text.losses.vocabulary_loss import vocabulary_loss

    generator = torch.Generator().manual_seed(0)
    hidden, t_hidden = (torch.randn(tokens, width, generator=generator) for _ in range(2))
    weight, t_weight = (torch.randn(vocab, width, generator=generator) / width**0.5 for _ in range(2))
    divergence = token_divergence(name)
    gradients = weight.nbytes + hidden.nbytes

    def loss(rows: int) -> torch.Tensor:
        if kind == "chunked":
            return vocabulary_loss(
                hidden[:rows], Head(weight=weight), divergence=divergence, teacher_hidden=t_hidden[:rows],
                teacher_head=Head(weight=t_weight),
            ).value  # fmt: skip
        with torch.no_grad():
            p = log_probs(t_hidden[:rows] @ t_weight.T)
        return divergence(p, log_probs(hidden[:rows] @ weight.T)).mean()

    loss(2)  # load what is loaded when first used
    for leaf in (hidden, weight):
        leaf.requires_grad_(True)
    forget_peak()
    before = resident("VmRSS")
    started = time.perf_counter()
    value = loss(tokens)
    value.backward()
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "bytes": resident("VmHWM") - before - gradients, "value": float(value)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("tokens", 2048), ("vocab", 131_072), ("hidden", 512), ("repeats", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--divergence", default="forward_kl")
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    given = parser.parse_args()
    numbers = (given.tokens, given.vocab, given.hidden, given.divergence)
    if given.kind:
        print(json.dumps(measure(given.kind, *numbers)))
        return
    found: dict[str, list[dict]] = {"dense": [], "chunked": []}
    for _ in range(given.repeats):
        for kind, results in found.items():
            command = [sys.executable, __file__, *sys.argv[1:], "--kind", kind]
            results.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    seconds = {kind: statistics.median(r["seconds"] for r in results) for kind, results in found.items()}
    peaks = {kind: max(r["bytes"] for r in results) for kind, results in found.items()}
    print(
        f"{given.divergence}, {given.tokens:,} tokens x {given.vocab:,} vocabulary x hidden {given.hidden}, float32, "
        f"{os.environ.get('OMP_NUM_THREADS', 'all')} threads"
    )
    print("| loss | seconds | peak MiB above inputs and gradients | value |\n|---|---|---|---|")
    for kind, results in found.items():
        print(f"| {kind} | {seconds[kind]:.2f} | {peaks[kind] / 2**20:,.0f} | {results[0]['value']:.6f} |")
    time_ratio, memory_ratio = seconds["chunked"] / seconds["dense"], peaks["chunked"] / peaks["dense"]
    print(f"\nchunked takes {time_ratio:.2f} times the time and {100 * memory_ratio:.1f} % of the memory")
    if time_ratio > 1.3 or memory_ratio > 0.15:
        sys.exit("over the bounds: 1.3 times the time, 15 % of the memory")


if __name__ == "__main__":
    main()
