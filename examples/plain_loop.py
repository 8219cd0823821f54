"""Your loop, our objective: a one-step digits generator without Limbeck's engine. python plain_loop.py [steps]"""

import sys

import torch

import limbeck
from limbeck.sampling.samples import Samples


def distill(steps: int, batch_size: int = 128, seed: int = 0):
    teacher = limbeck.create("teacher", "image/digits").freeze()
    generator = teacher.trainable_copy("full")
    data = limbeck.create("data", "image/digits").split("train")
    objective = limbeck.create("objective", "dmd2", critic={"updates": 5})
    objective.setup(generator, teacher)
    optimizers = {name: torch.optim.AdamW(role.parameters(), lr=2e-4) for name, role in objective.roles().items()}

    for step in range(steps):
        for phase in objective.phases(step):  # the critic five times, then the generator
            rng = limbeck.rng(seed, step, phase)
            batch = limbeck.Batch(cond=data.conditions(batch_size, rng))
            objective.focus(phase)
            loss = objective.loss(phase, batch, rng)
            loss.backward()
            for role in phase.roles:
                optimizers[role].step()
            objective.zero_grad()
        print(f"step {step + 1}: {loss.value.item():.4f}", flush=True)
    return generator.eval()


if __name__ == "__main__":
    student = distill(steps=int(sys.argv[1]) if len(sys.argv) > 1 else 200)
    noise, labels = torch.randn(80, *student.space.event), torch.arange(80) % 10
    with torch.no_grad():  # one network call per digit
        digits = student(noise, torch.full((80,), student.process.t_max), labels).x0_hat
    print(Samples(digits, labels, student.space).save("digits.png"))
