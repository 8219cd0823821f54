"""CoMoSpeech on synthetic tones: one evaluation of the student against the teacher's ODE, in the units of the mel space
(scaled log-mel values, standard deviation 0.36)."""

import math

import pytest
import torch

import limbeck
from limbeck.interfaces import Batch
from limbeck.plugins.registry import create
from limbeck.randomness import Rng
from limbeck_audio.signal.mel import CLIP, RATE, MelCodec

HERTZ = torch.tensor([250.0, 2000.0])  # which of them, the noise decides: the network is not given it
NO_WORD = 10


def tones(number):
    """Mel spectrograms of as many clips of each tone, and the label that says nothing."""
    seconds = torch.arange(CLIP) / RATE
    heard = 0.2 * torch.sin(2 * math.pi * HERTZ.repeat(number)[:, None] * seconds)
    return MelCodec().encode(heard), torch.full((len(heard),), NO_WORD)


def train(objective, student, steps, lr, teacher=None):
    """`steps` of Adam on twelve clips each."""
    objective.setup(student, teacher)
    optimizer = torch.optim.AdamW(student.parameters(), lr=lr, betas=(0.9, 0.99))
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    x0, silent = tones(6)
    for step in range(steps):
        (phase,) = objective.phases(step)
        optimizer.zero_grad()
        objective.loss(phase, Batch(x0=x0, cond=silent), limbeck.rng(0, step, phase)).value.backward()
        optimizer.step()
        decay.step()
    return student


@pytest.mark.long
def test_one_evaluation_of_the_student_answers_the_teachers_ode_on_tones():
    # a teacher of two tones: the bundled network, which can denoise, after 200 steps on nothing else
    flow = train(
        create("objective", "flow_matching"), create("teacher", "audio/spoken_digits").trainable_copy(), 200, 1e-3
    )
    teacher = create("teacher", "audio/spoken_digits", process="edm")
    teacher.load_state_dict(flow.state_dict())
    student = train(create("objective", "comospeech"), teacher.trainable_copy(), 400, 5e-4, teacher).freeze()

    clips, silent = tones(24)
    noise = teacher.process.prior_std * Rng(1).normal("noise", clips.shape)

    def made(model, sampler, steps):
        return create("sampler", sampler)(model, silent, steps=steps, rng=Rng(1), noise=noise).value

    ode, cut, once = made(teacher, "heun", 30), made(teacher, "multistep", 1), made(student, "multistep", 1)
    low = (ode - clips[0]).abs().mean((1, 2, 3)) < (ode - clips[1]).abs().mean((1, 2, 3))
    assert 8 < int(low.sum()) < 40  # the teacher has both tones
    error, error_cut = ((x - ode).abs().mean().item() for x in (once, cut))
    # measured: 0.078 and 0.100
    assert error < 0.085 and error < 0.85 * error_cut
