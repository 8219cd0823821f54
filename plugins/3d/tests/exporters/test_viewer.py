import base64
import math
import re
import subprocess

import numpy as np
import pytest
from glb_files import colour_near, glb_parts
from PIL import Image
from toy_scenes import RED, block_scene, run_of

from limbeck_3d.exporters import viewer
from limbeck_3d.exporters.mesh import meshed
from limbeck_3d.exporters.viewer import export_viewer


def test_the_page_holds_everything_and_lets_nothing_in(tmp_path):
    page = export_viewer(run_of(block_scene(), name="a <b> & c"), tmp_path / "out")[0].read_text()
    assert "<title>a &lt;b&gt; &amp; c</title>" in page
    assert "default-src 'none'" in page and "THREE" in page
    assert not re.search(r"""<(script|link|img)[^>]*(src|href)\s*=""", page)
    data = base64.b64decode(re.search(r'base64_data="([A-Za-z0-9+/=]+)"', page)[1])
    tree, vertices, colors, _, _ = glb_parts(data)
    np.testing.assert_allclose(colour_near(vertices, colors, (0.75, 0, 0)), RED, atol=0.02)
    assert "AmbientLight(0xffffff,0.6)" in page  # trimesh's template still has the place for it
    (camera,) = tree["cameras"]
    assert camera["perspective"]["yfov"] == pytest.approx(math.radians(40))
    inside = viewer.frame(meshed(block_scene()).mesh, 'the "frame"')
    assert inside.count("<iframe") == 1 and "&lt;script&gt;" in inside and "<script" not in inside


@pytest.mark.slow
@pytest.mark.browser
def test_a_browser_draws_the_page_and_the_blocks_are_where_they_belong(tmp_path, chromium):
    page = export_viewer(run_of(block_scene()), tmp_path / "out")[0]
    shot = tmp_path / "shot.png"
    command = [
        chromium, "--headless", "--no-sandbox", "--disable-gpu", "--use-gl=angle", "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=8000", f"--screenshot={shot}", "--window-size=600,600", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert shot.is_file(), f"the browser took no picture of the page: {done.stderr[-2000:]}"
    with Image.open(shot) as picture:
        seen = np.asarray(picture.convert("RGB")).astype(float)
    height, width = seen.shape[:2]

    def middle(channel):
        others = np.delete(seen, channel, axis=2).max(-1)
        rows, columns = np.nonzero(seen[..., channel] - others > 60)
        assert len(rows) > 0.005 * height * width, f"channel {channel} is not to be seen"
        return rows.mean() / height, columns.mean() / width

    red, green, blue = middle(0), middle(1), middle(2)
    assert red[1] > 0.5 and green[0] < 0.45 and blue[1] < red[1] and blue[0] > green[0]
