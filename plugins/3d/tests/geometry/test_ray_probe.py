import pytest
import torch
from toy_scenes import places

from limbeck_3d.geometry.field import FieldGrid
from limbeck_3d.geometry.ray_probe import Probe, probe, surface_density


def test_probes_of_two_walls_are_known():
    # front wall of density 2, back wall of density 8, both 0.25 thick: alpha 1 - exp(-2.5); half of the light is
    # gone in the back wall (0.5 < log 2); turned around, in the back wall's first 0.087 already
    _, _, z = places(32)
    density = torch.where((z > 0.5) & (z < 0.75), 2.0, 0.0) + torch.where((z > -0.75) & (z < -0.5), 8.0, 0.0)
    found = probe(FieldGrid(density, torch.zeros(3, 32, 32, 32)), views=1, size=41)  # elevation -64, azimuth 0
    assert found.alpha.shape == found.front.shape == found.peak.shape == (41 * 41,)
    opaque = found.alpha > 0.9
    assert float(found.peak[opaque].median()) == pytest.approx(8.0, rel=0.01)
    assert bool((found.front <= found.peak).all()) and float(found.peak[found.alpha < 1e-6].max()) < 1e-3


def test_the_level_is_the_one_with_the_largest_overlap():
    # three opaque rays that meet 4, 6 and 9 in front, three others whose densities reach 5, 1 and 0.
    # level 4-: 3 of (3 + 1); level 6-: 2 of (3 + 0); level 9-: 1 of 3
    alpha = torch.tensor([0.9, 0.6, 0.99, 0.4, 0.1, 0.0])
    front, peak = torch.tensor([4.0, 6.0, 9.0, 5.0, 1.0, 0.0]), torch.tensor([8.0, 6.0, 9.0, 5.0, 1.0, 0.0])
    assert surface_density(Probe(alpha, front, peak)) == pytest.approx(4.0, rel=1e-5)
    peak[4] = 5.0  # two see through it: 3 of 5 is less than 2 of 3
    assert surface_density(Probe(alpha, front, peak)) == pytest.approx(6.0, rel=1e-5)
    assert surface_density(Probe(alpha / 2, front, peak)) is None
