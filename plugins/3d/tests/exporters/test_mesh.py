"""Meshes: re-loaded, in the convention promised, and refused where there is nothing."""

import json

import numpy as np
import pytest
import torch
import trimesh
from glb_files import colour_near, glb_parts
from toy_scenes import TIPS, block_scene, run_of

import limbeck
from limbeck.errors import LimbeckError, RunExists
from limbeck_3d.exporters.gltf import to_linear
from limbeck_3d.exporters.mesh import export_glb
from limbeck_3d.scenes.image import ImageScene
from limbeck_3d.scenes.splats import Splats


def test_glb_holds_the_mesh_in_our_convention_with_colours_as_light(tmp_path):
    files = export_glb(run_of(block_scene()), tmp_path / "out")
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


@pytest.mark.parametrize("name", ["glb", "viewer", "gif", "splat"])
def test_an_interrupted_export_leaves_the_files_of_before(name, tmp_path, monkeypatch):
    scene = Splats(count=20, size=8, start_opacity=0.9, start_scale=0.2)
    options = {"overwrite": True, **({"views": 2, "size": 16, "render_size": 16} if name == "gif" else {})}
    before = {
        path: path.read_bytes()
        for path in limbeck.create("exporter", f"3d/{name}", run=run_of(scene), directory=tmp_path, **options)
    }
    with torch.no_grad():
        scene.means += 0.1

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("limbeck.files.os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        limbeck.create("exporter", f"3d/{name}", run=run_of(scene), directory=tmp_path, **options)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_run_without_a_scene_is_refused(tmp_path):
    with pytest.raises(LimbeckError, match="writes scenes; the generator of this run is Linear"):
        export_glb(run_of(torch.nn.Linear(1, 1)), tmp_path / "out")


def test_an_image_has_no_surface(tmp_path):
    with pytest.raises(LimbeckError, match="ImageScene fills no space.*--to gif"):
        export_glb(run_of(ImageScene(size=8, std=0.5)), tmp_path / "glb")
    assert not (tmp_path / "glb").exists()
