"""Meshes and other artefacts of scenes: re-loaded, in the convention promised, and refused where there is nothing."""

import base64
import json
import math
import re
import struct
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

import limbeck
from limbeck.errors import LimbeckError, NonFinite, RunExists
from limbeck_3d.exporters import mesh as exporters, splats as splat_file, viewer
from limbeck_3d.scenes.splats import Splats
from limbeck_3d.scenes.surface import Sounding, mesh_field, scene_mesh, sound, surface_density, to_linear
from limbeck_3d.scenes.voxels import FieldGrid, ImageScene, Voxels

RED, GREEN, BLUE, YELLOW = (0.9, 0.1, 0.1), (0.1, 0.9, 0.1), (0.1, 0.1, 0.9), (0.9, 0.9, 0.1)


def run_of(scene, name="a toy"):
    return SimpleNamespace(
        generator=lambda: scene, recipe=SimpleNamespace(name=name), built=SimpleNamespace(generator=scene), path="toy"
    )


def places(cells):
    line = (torch.arange(cells) + 0.5) * 2 / cells - 1
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    return x, y, z


def block_scene(cells=24, floater=False):
    """A grey block with a red one on its right (+x), a green one on top (+y) and a blue one in front (+z)."""
    scene = Voxels(grid=cells, size=24, samples=32).eval()
    x, y, z = places(cells)
    blocks = [((0, 0, 0), 0.25, (0.5,) * 3), ((0.5, 0, 0), 0.25, RED), ((0, 0.5, 0), 0.25, GREEN)]
    blocks += [((0, 0, 0.5), 0.25, BLUE)] + ([((-0.8, -0.8, -0.8), 0.1, YELLOW)] if floater else [])
    with torch.no_grad():
        scene.density.fill_(-10.0)
        for (cx, cy, cz), half, rgb in blocks:
            inside = ((x - cx).abs() < half) & ((y - cy).abs() < half) & ((z - cz).abs() < half)
            scene.density[0][inside] = 20.0
            for channel in range(3):
                scene.color[0, channel][inside] = math.log(rgb[channel] / (1 - rgb[channel]))
    return scene


def ball_field(radius=0.6, cells=32, sharp=40.0):
    x, y, z = places(cells)
    density = sharp * torch.sigmoid(15 * (radius - (x**2 + y**2 + z**2).sqrt()))
    return FieldGrid(density, torch.full((3, cells, cells, cells), 0.2))


# --- surfaces --------------------------------------------------------------------------------------------------------


def test_a_ball_becomes_a_closed_ball_of_its_radius():
    made = mesh_field(ball_field(), threshold=20.0)  # the sigmoid is 1/2 at r = 0.6
    assert made.mesh.is_watertight and made.pieces == 1 and made.warnings == ()
    assert made.mesh.volume == pytest.approx(4 / 3 * math.pi * 0.6**3, rel=0.02)  # positive: faces look outwards
    radii = np.linalg.norm(made.mesh.vertices, axis=1)
    assert abs(radii.mean() - 0.6) < 0.005 and radii.std() < 0.005
    assert (made.mesh.visual.vertex_colors[:, :3] == 51).all()


@pytest.mark.parametrize("sigma", [3.0, 30.0])
def test_the_surface_of_soft_and_of_hard_matter_lies_where_renders_show_it(sigma):
    # a ball whose density falls from sigma to 0 around radius 0.6: half opaque where a ray at that distance from the
    # centre gathers an optical depth of log 2, 0.59 for sigma 3 and 0.66 for sigma 30
    x, y, z = places(32)
    inside = torch.sigmoid(40 * (0.6 - (x**2 + y**2 + z**2).sqrt()))
    made = mesh_field(FieldGrid(sigma * inside, torch.full((3, 32, 32, 32), 0.5)))
    distance, along = torch.linspace(0.4, 0.8, 401)[:, None], torch.linspace(-1, 1, 2001)
    depth = sigma * torch.sigmoid(40 * (0.6 - (distance**2 + along**2).sqrt())).mean(1) * 2
    seen = 0.4 + 0.001 * int((depth > math.log(2)).sum())
    assert np.linalg.norm(made.mesh.vertices, axis=1).mean() == pytest.approx(seen, abs=0.02)
    assert made.pieces == 1 and made.state.threshold < sigma


def test_soundings_of_two_walls_are_known():
    # front wall of density 2, back wall of density 8, both 0.25 thick: alpha 1 - exp(-2.5); half of the light is
    # gone in the back wall (0.5 < log 2); turned around, in the back wall's first 0.087 already
    _, _, z = places(32)
    density = torch.where((z > 0.5) & (z < 0.75), 2.0, 0.0) + torch.where((z > -0.75) & (z < -0.5), 8.0, 0.0)
    found = sound(FieldGrid(density, torch.zeros(3, 32, 32, 32)), views=1, size=41)  # elevation -64, azimuth 0
    assert found.alpha.shape == found.front.shape == found.peak.shape == (41 * 41,)
    opaque = found.alpha > 0.9
    assert float(found.peak[opaque].median()) == pytest.approx(8.0, rel=0.01)
    assert bool((found.front <= found.peak).all()) and float(found.peak[found.alpha < 1e-6].max()) < 1e-3


def test_the_level_is_the_one_with_the_largest_overlap():
    # three opaque rays that meet 4, 6 and 9 in front, three others whose densities reach 5, 1 and 0.
    # level 4-: 3 of (3 + 1); level 6-: 2 of (3 + 0); level 9-: 1 of 3
    alpha = torch.tensor([0.9, 0.6, 0.99, 0.4, 0.1, 0.0])
    front, peak = torch.tensor([4.0, 6.0, 9.0, 5.0, 1.0, 0.0]), torch.tensor([8.0, 6.0, 9.0, 5.0, 1.0, 0.0])
    assert surface_density(Sounding(alpha, front, peak)) == pytest.approx(4.0, rel=1e-5)
    peak[4] = 5.0  # two see through it: 3 of 5 is less than 2 of 3
    assert surface_density(Sounding(alpha, front, peak)) == pytest.approx(6.0, rel=1e-5)
    assert surface_density(Sounding(alpha / 2, front, peak)) is None


def test_what_touches_the_faces_of_the_cube_is_closed_there_and_said():
    x, _, _ = places(16)
    made = mesh_field(FieldGrid(torch.where(x > 0, 100.0, 0.0), torch.full((3, 16, 16, 16), 0.5)))
    assert made.mesh.is_watertight
    assert made.mesh.volume == pytest.approx(4.0, rel=0.06)
    assert np.abs(made.mesh.vertices).max() <= 1
    assert "runs into the cube's faces" in made.warnings[0]


def test_floaters_are_left_out_and_counted():
    grid = block_scene(floater=True).field()
    made = mesh_field(grid, floaters=0.05)
    assert (made.pieces, made.dropped_pieces) == (2, 1)
    assert made.dropped_faces > 0 and "left out 1 of 2 pieces" in made.warnings[0]
    assert made.mesh.bounds[0].min() > -0.4
    kept = mesh_field(grid, floaters=0.0)
    assert kept.dropped_pieces == 0 and kept.mesh.bounds[0].min() < -0.8
    assert len(kept.mesh.faces) == len(made.mesh.faces) + made.dropped_faces


def test_a_cavity_is_not_a_floater():
    x, y, z = places(32)
    r = (x**2 + y**2 + z**2).sqrt()
    shell = FieldGrid(torch.where((r < 0.8) & (r > 0.5), 100.0, 0.0), torch.full((3, 32, 32, 32), 0.5))
    made = mesh_field(shell, floaters=0.05)
    assert (made.pieces, made.dropped_pieces) == (2, 0)
    assert made.mesh.volume == pytest.approx(4 / 3 * math.pi * (0.8**3 - 0.5**3), rel=0.05)


@pytest.mark.parametrize("scene", [block_scene(), Splats(count=40, start_opacity=0.9, start_scale=0.15)])
def test_the_mesh_of_a_scene_lies_where_its_renders_show_it(scene):
    from limbeck_3d.exporters.turntable import render, views

    mesh = scene_mesh(scene)
    cond = views(3, azimuth=20.0, distance=4.0)
    alpha = render(scene, cond, size=24).alpha[:, 0] > 0.5
    inside = mesh.contains if hasattr(mesh, "contains") else None
    assert inside is not None
    from limbeck.networks.scenes import Cameras

    cameras = Cameras.of(cond)
    axes, position, focal = cameras.axes().numpy(), cameras.position().numpy(), cameras.focal(24).numpy()
    for view in range(3):
        local = (mesh.vertices - position[view]) @ axes[view]
        column = 12 + focal[view] * local[:, 0] / -local[:, 2]
        row = 12 - focal[view] * local[:, 1] / -local[:, 2]
        rows, columns = np.nonzero(alpha[view].numpy())
        # a pixel is 0.06 wide there, a cell 0.083
        assert abs(column.min() - columns.min()) < 2 and abs(column.max() - columns.max() - 1) < 2
        assert abs(row.min() - rows.min()) < 2 and abs(row.max() - rows.max() - 1) < 2


def test_empty_full_and_broken_fields_are_refused_with_a_hint():
    empty, grey = torch.zeros(8, 8, 8), torch.full((3, 8, 8, 8), 0.5)
    with pytest.raises(
        LimbeckError, match=r"is empty: max density 0.1, and no ray has alpha 0.5 .highest 0.\d+.*guidance"
    ):
        mesh_field(FieldGrid(empty + 0.1, grey))
    with pytest.raises(LimbeckError, match=r"is empty: max density 0.1, threshold 3, 0 % of the cells above it"):
        mesh_field(FieldGrid(empty + 0.1, grey), threshold=3.0)
    assert len(mesh_field(FieldGrid(block_scene(8).field().density, grey), threshold=1.0).mesh.faces) > 0
    with pytest.raises(LimbeckError, match=r"is full: .*100 % of those on its faces.*random backgrounds"):
        mesh_field(FieldGrid(empty + 50, grey))
    empty[1, 2, 3] = float("nan")
    with pytest.raises(NonFinite, match="not finite.*earlier checkpoint"):
        mesh_field(FieldGrid(empty, grey))


# --- files -----------------------------------------------------------------------------------------------------------


def colour_near(vertices, colors, point):
    nearest = np.linalg.norm(vertices - np.asarray(point), axis=1).argmin()
    return colors[nearest][:3].astype(float) / 255


TIPS = {(0.75, 0, 0): RED, (0, 0.75, 0): GREEN, (0, 0, 0.75): BLUE}


def glb_parts(data):
    """(tree, vertices, colours, indices, normals) of a GLB with one mesh, read by hand."""
    magic, version, length = struct.unpack("<4sII", data[:12])
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size = struct.unpack("<I", data[12:16])[0]
    tree, body = json.loads(data[20 : 20 + size]), data[20 + size + 8 :]
    primitive = tree["meshes"][0]["primitives"][0]

    def array(index):
        accessor = tree["accessors"][index]
        kind = {5126: "<f4", 5125: "<u4", 5121: "u1"}[accessor["componentType"]]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor["type"]]
        part = tree["bufferViews"][accessor["bufferView"]]
        start = part.get("byteOffset", 0) + accessor.get("byteOffset", 0)
        return np.frombuffer(body, kind, accessor["count"] * width, start).reshape(accessor["count"], width)

    names = primitive["attributes"]
    return tree, array(names["POSITION"]), array(names["COLOR_0"]), array(primitive["indices"]), array(names["NORMAL"])


def test_glb_holds_the_mesh_in_our_convention_with_colours_as_light(tmp_path):
    files = exporters.export_glb(run_of(block_scene()), tmp_path / "out")
    assert [path.name for path in files] == ["scene.glb", "mesh.json"]
    tree, vertices, colors, faces, normals = glb_parts(files[0].read_bytes())
    for tip, rgb in TIPS.items():
        light = to_linear(torch.tensor(rgb)).numpy()
        np.testing.assert_allclose(colour_near(vertices, colors, tip), light, atol=0.02)
    np.testing.assert_allclose(vertices.max(0), [0.75, 0.75, 0.75], atol=0.06)
    np.testing.assert_allclose(vertices.min(0), [-0.25, -0.25, -0.25], atol=0.06)
    paint = tree["materials"][tree["meshes"][0]["primitives"][0]["material"]]["pbrMetallicRoughness"]
    assert paint["metallicFactor"] == 0 and paint["baseColorFactor"] == [1, 1, 1, 1]
    corners = vertices[faces.reshape(-1, 3)]
    outwards = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("fi,fi->f", outwards, normals[faces.reshape(-1, 3)].mean(1)) > 0).mean() > 0.99
    loaded = trimesh.load(files[0], force="mesh")
    assert loaded.is_watertight and loaded.volume > 0
    facts = json.loads(files[1].read_text())
    assert facts["faces"] == len(loaded.faces) and facts["watertight"] and "+y up" in facts["convention"]


@pytest.mark.parametrize("kind", ["obj", "ply"])
def test_obj_and_ply_load_with_the_colours_of_the_screen(kind, tmp_path):
    path = limbeck.create("exporter", kind, run=run_of(block_scene()), directory=tmp_path / "out")[0]
    loaded = trimesh.load(path, process=False)
    assert path.name == f"scene.{kind}" and loaded.volume > 0
    for tip, rgb in TIPS.items():
        np.testing.assert_allclose(colour_near(loaded.vertices, loaded.visual.vertex_colors, tip), rgb, atol=0.02)


def test_splats_load_as_they_were_with_w_first_logits_and_logs(tmp_path):
    torch.manual_seed(1)
    scene = Splats(count=7, color_std=1.0, start_opacity=0.3, start_scale=0.2)
    with torch.no_grad():
        scene.quaternions[0, 0] = torch.tensor([0.0, 0.0, 3.0, 0.0])
        scene.log_scales += torch.randn(1, 7, 3)
    path = exporters.export_splat(run_of(scene), tmp_path / "out")[0]
    head, _, body = path.read_bytes().partition(b"end_header\n")
    names = re.findall(r"property float (\w+)", head.decode())
    assert names[:3] == ["x", "y", "z"] and names[6] == "f_dc_0" and names[9] == "opacity" and names[-4] == "rot_0"
    first = dict(zip(names, np.frombuffer(body, "<f4")[: len(names)].tolist(), strict=True))
    assert [first[f"rot_{k}"] for k in range(4)] == [0, 0, 1, 0]  # w x y z, length one
    assert first["opacity"] == pytest.approx(math.log(0.3 / 0.7), abs=1e-5)
    assert first["scale_1"] == pytest.approx(float(scene.log_scales[0, 0, 1].detach()), abs=1e-5)
    red = float(scene.colors[0, 0, 0].detach().sigmoid())
    assert first["f_dc_0"] == pytest.approx((red - 0.5) / 0.28209479, abs=1e-5)
    back, ours = splat_file.read(path), scene.gaussians()
    for name in ("means", "scales", "opacity", "rgb"):
        torch.testing.assert_close(getattr(back, name), getattr(ours, name).detach(), rtol=1e-5, atol=1e-5)
    with pytest.raises(LimbeckError, match="is no PLY of splats"):
        mesh = exporters.export_ply(run_of(block_scene()), tmp_path / "mesh")[0]
        splat_file.read(mesh)


def test_the_turntable_turns_once_to_the_left(tmp_path):
    path = exporters.export_gif(run_of(block_scene()), tmp_path / "out", views=8, size=64, render_size=32)[0]
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


def test_an_image_has_a_picture_but_no_surface_and_no_splats(tmp_path):
    run = run_of(ImageScene(size=8, std=0.5))
    with Image.open(exporters.export_gif(run, tmp_path / "gif", size=32, render_size=16)[0]) as picture:
        assert getattr(picture, "n_frames", 1) == 1 and picture.size == (32, 32)
    with pytest.raises(LimbeckError, match="ImageScene fills no space.*--to gif"):
        exporters.export_glb(run, tmp_path / "glb")
    assert not (tmp_path / "glb").exists()
    with pytest.raises(LimbeckError, match="writes Gaussians, and the scene is ImageScene"):
        exporters.export_splat(run, tmp_path / "splat")


@pytest.mark.parametrize("name", ["glb", "obj", "ply", "viewer", "gif", "splat"])
def test_a_folder_that_holds_something_is_left_alone(name, tmp_path):
    scene = Splats(count=20, size=8, start_opacity=0.9, start_scale=0.2)
    (tmp_path / "mine").write_text("precious")
    small = {"views": 2, "size": 16, "render_size": 16} if name == "gif" else {}
    with pytest.raises(RunExists, match=r"not empty.*overwrite=True"):
        limbeck.create("exporter", f"3d/{name}", run=run_of(scene), directory=tmp_path, **small)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    written = limbeck.create("exporter", f"3d/{name}", run=run_of(scene), directory=tmp_path, overwrite=True, **small)
    assert all(path.is_file() for path in written) and (tmp_path / "mine").read_text() == "precious"
    with pytest.raises(LimbeckError, match="particle 3 of a scene with 1; give one from 0 to 0"):
        limbeck.create("exporter", f"3d/{name}", run=run_of(scene), directory=tmp_path / "p", particle=3, **small)


def test_a_run_without_a_scene_is_told_so(tmp_path):
    with pytest.raises(LimbeckError, match="writes scenes; the generator of this run is Linear"):
        exporters.export_glb(run_of(torch.nn.Linear(1, 1)), tmp_path / "out")


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_holds_everything_and_lets_nothing_in(tmp_path):
    page = exporters.export_viewer(run_of(block_scene(), name="a <b> & c"), tmp_path / "out")[0].read_text()
    assert "<title>a &lt;b&gt; &amp; c</title>" in page
    assert "default-src 'none'" in page and "THREE" in page
    assert not re.search(r"""<(script|link|img)[^>]*(src|href)\s*=""", page)
    data = base64.b64decode(re.search(r'base64_data="([A-Za-z0-9+/=]+)"', page)[1])
    tree, vertices, colors, _, _ = glb_parts(data)
    np.testing.assert_allclose(colour_near(vertices, colors, (0.75, 0, 0)), RED, atol=0.02)
    assert "AmbientLight(0xffffff,0.6)" in page  # trimesh's template still has the place for it
    (camera,) = tree["cameras"]
    assert camera["perspective"]["yfov"] == pytest.approx(math.radians(40))
    inside = viewer.frame(exporters.meshed(block_scene()).mesh, 'the "frame"')
    assert inside.count("<iframe") == 1 and "&lt;script&gt;" in inside and "<script" not in inside


@pytest.mark.slow
@pytest.mark.browser
def test_a_browser_draws_the_page_and_the_blocks_are_where_they_belong(tmp_path, chromium):
    page = exporters.export_viewer(run_of(block_scene()), tmp_path / "out")[0]
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
