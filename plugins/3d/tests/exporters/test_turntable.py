import numpy as np
from PIL import Image
from toy_scenes import block_scene, run_of

from limbeck_3d.exporters.turntable import export_gif
from limbeck_3d.scenes.image import ImageScene


def test_the_turntable_turns_once_to_the_left(tmp_path):
    path = export_gif(run_of(block_scene()), tmp_path / "out", views=8, size=64, render_size=32)[0]
    with Image.open(path) as picture:
        assert picture.n_frames == 8 and picture.size == (64, 64) and picture.info["loop"] == 0
        shades = []
        for frame in range(8):
            picture.seek(frame)
            shades.append(np.asarray(picture.convert("RGB")).astype(float))
    white = shades[0][2, 2]
    assert white.min() > 240

    def redness(image):
        return image[..., 0] - image[..., 1:].max(-1) > 60

    columns = np.arange(64)
    front = (redness(shades[0]).sum(0) * columns).sum() / redness(shades[0]).sum()
    back = (redness(shades[4]).sum(0) * columns).sum() / redness(shades[4]).sum()
    assert front > 38 and back < 26  # red is on the right of the front, so left of the back


def test_an_image_turns_in_one_frame(tmp_path):
    run = run_of(ImageScene(size=8, std=0.5))
    with Image.open(export_gif(run, tmp_path / "gif", size=32, render_size=16)[0]) as picture:
        assert getattr(picture, "n_frames", 1) == 1 and picture.size == (32, 32)
