import math
import re

import numpy as np
import pytest
import torch
from toy_scenes import block_scene, run_of

from limbeck.errors import LimbeckError
from limbeck_3d.exporters.mesh import export_ply
from limbeck_3d.exporters.splats import export_splat, read
from limbeck_3d.scenes.image import ImageScene
from limbeck_3d.scenes.splats import Splats


def test_splats_load_as_they_were_with_w_first_logits_and_logs(tmp_path):
    torch.manual_seed(1)
    scene = Splats(count=7, color_std=1.0, start_opacity=0.3, start_scale=0.2)
    with torch.no_grad():
        scene.quaternions[0, 0] = torch.tensor([0.0, 0.0, 3.0, 0.0])
        scene.log_scales += torch.randn(1, 7, 3)
    path = export_splat(run_of(scene), tmp_path / "out")[0]
    head, _, body = path.read_bytes().partition(b"end_header\n")
    names = re.findall(r"property float (\w+)", head.decode())
    assert names[:3] == ["x", "y", "z"] and names[6] == "f_dc_0" and names[9] == "opacity" and names[-4] == "rot_0"
    first = dict(zip(names, np.frombuffer(body, "<f4")[: len(names)].tolist(), strict=True))
    assert [first[f"rot_{k}"] for k in range(4)] == [0, 0, 1, 0]  # w x y z, length one
    assert first["opacity"] == pytest.approx(math.log(0.3 / 0.7), abs=1e-5)
    assert first["scale_1"] == pytest.approx(float(scene.log_scales[0, 0, 1].detach()), abs=1e-5)
    red = float(scene.colors[0, 0, 0].detach().sigmoid())
    assert first["f_dc_0"] == pytest.approx((red - 0.5) / 0.28209479, abs=1e-5)
    back, ours = read(path), scene.gaussians()
    for name in ("means", "scales", "opacity", "rgb"):
        torch.testing.assert_close(getattr(back, name), getattr(ours, name).detach(), rtol=1e-5, atol=1e-5)
    with pytest.raises(LimbeckError, match="is no PLY of splats"):
        mesh = export_ply(run_of(block_scene()), tmp_path / "mesh")[0]
        read(mesh)


def test_an_image_has_no_splats(tmp_path):
    with pytest.raises(LimbeckError, match="writes Gaussians, and the scene is ImageScene"):
        export_splat(run_of(ImageScene(size=8)), tmp_path / "splat")
