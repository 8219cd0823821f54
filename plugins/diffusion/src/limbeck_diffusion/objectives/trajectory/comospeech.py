"""CoMoSpeech (Ye et al. 2023): consistency distillation for mel spectrograms."""

from limbeck.manifest import Needs
from limbeck_diffusion.objectives.trajectory.consistency import Consistency
from limbeck_diffusion.options.base import CoMoSpeechOptions


class CoMoSpeech(Consistency):
    """`consistency` with CoMoSpeech's settings: 50 levels of sigma / alpha from 0.002 to 80 with exponent 7, the
    teacher's Euler step in sigma / alpha (which is DDIM's), squared error, an EMA target of decay 0.95 that moves
    before every loss, states at the lowest level their own answer.

    On EDM this is the published method; on another Gaussian process it is the same one in other coordinates. Its prior
    N(mu, I), mu a mean under the condition, is a property of the generator, see
    `limbeck_diffusion.networks.prior_mean`; without it the mean is zero. Draws: t, eps.
    """

    Options = CoMoSpeechOptions
    needs = Needs(generator={"gaussian", "denoiser", "sampling"})
