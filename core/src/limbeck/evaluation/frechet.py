"""The Frechet distance of two sets of features, and the whitening of features: what every modality measures with.

Letters: N count, D features. Report the counts beside every distance: it falls as they grow, for equal
distributions too.
"""

import torch
from torch import Tensor


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and unbiased covariance (D, D) of features (N, D), float64."""
    features = features.double()
    mean = features.mean(dim=0)
    centred = features - mean
    return mean, centred.T @ centred / max(1, len(features) - 1)


def _root(matrix: Tensor) -> Tensor:
    """Symmetric square root of a positive semi-definite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def frechet_distance(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> float:
    r"""|m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a^{1/2} S_b S_a^{1/2})^{1/2}), Dowson & Landau 1982, Eq. 16; Heusel et al.
    2017.

    Written with symmetric roots only, so that eigh suffices and near-singular covariances do no harm. Means (D,),
    covariances (D, D), float64. It is the squared 2-Wasserstein distance of the two Gaussians.
    """
    root = _root(cov_a)
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp_min(0).sqrt().sum()
    distance = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross
    return max(0.0, distance.item())


def whitening(raw: Tensor, shrinkage: float = 0.01) -> tuple[Tensor, Tensor]:
    """Centre (D,) and symmetric matrix (S + shrinkage tr(S)/D)^{-1/2} (D, D) for raw features (N, D) of covariance S.

    Shrinkage keeps directions in which the data hardly varies from being blown up."""
    raw = raw.double()
    centre = raw.mean(dim=0)
    values, vectors = torch.linalg.eigh(torch.cov((raw - centre).T))
    root = (vectors * (values.clamp_min(0) + shrinkage * values.mean()).rsqrt()) @ vectors.T
    return centre.float(), root.float()


__all__ = ["frechet_distance", "moments", "whitening"]
