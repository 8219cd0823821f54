"""A page to turn a mesh in: trimesh's viewer (three.js inside, MIT) with our camera, light and title. No network."""

import html
from pathlib import Path
from typing import Any

import numpy as np

from limbeck_3d.exporters.gltf import matte
from limbeck_3d.exporters.mesh import mesh_file
from limbeck_3d.exporters.scene import name_of

DISTANCE, ELEVATION, AZIMUTH, FOV = 3.1, 20.0, 25.0, 40.0
# The viewer's lamp of strength 1.75 stands where the camera does; ours lights the sides. Together they give 1 at most.
_LAMP = "scene.add(tracklight);"
AMBIENT, DIM = 0.6, 0.43
# Nothing but what is inside the page: the browser itself refuses the network.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src data: blob:; "
    "img-src data: blob:"
)


def export_viewer(run: Any, directory: Path | str, **options: Any) -> list[Path]:
    """viewer.html: the mesh in a page that turns it, three.js inside, no network; and mesh.json."""
    name = name_of(run)
    return mesh_file(run, directory, "viewer.html", lambda mesh: page(mesh, name).encode("utf-8"), options)


def page(mesh: Any, title: str) -> str:
    """A self-contained HTML page. Colours stay as they are on the screen: this viewer shows them unconverted."""
    import trimesh
    from trimesh.viewer.notebook import scene_to_html

    shown = mesh.copy()
    _ = shown.vertex_normals  # written when they are known: smooth shading
    camera = trimesh.scene.Camera(name="camera", fov=(FOV, FOV), resolution=(800, 800), z_near=0.05, z_far=50.0)
    scene = trimesh.Scene({"scene": shown}, camera=camera, camera_transform=_look_at_the_middle())
    made = scene_to_html(_Shown(scene))
    head = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n    <title>{html.escape(title)}</title>'
    made = made.replace("<title>trimesh: threejs viewer</title>", head, 1)
    return made.replace(_LAMP, _LAMP + f"scene.add(new THREE.AmbientLight(0xffffff,{AMBIENT}));", 1)


def frame(mesh: Any, title: str, height: int = 420) -> str:
    """The page in an <iframe> for other pages."""
    inside = html.escape(page(mesh, title), quote=True)
    return (
        f'<iframe title="{html.escape(title, quote=True)}" loading="lazy" '
        f'style="width:100%;height:{height}px;border:0;border-radius:6px;background:#fff" srcdoc="{inside}"></iframe>'
    )


class _Shown:
    """A scene as `scene_to_html` uses it, with a material that suits its lamp."""

    def __init__(self, scene: Any):
        self.scene, self.camera = scene, scene.camera

    def export(self, file_type: str) -> bytes:
        return self.scene.export(file_type=file_type, include_normals=True, tree_postprocessor=matte(DIM))


def _look_at_the_middle() -> Any:
    """Pose of the camera, (4, 4): axes right, up, backwards and position, as `limbeck.networks.scenes.Cameras` has
    them."""
    azimuth, elevation = np.radians(AZIMUTH), np.radians(ELEVATION)
    back = np.array([np.cos(elevation) * np.sin(azimuth), np.sin(elevation), np.cos(elevation) * np.cos(azimuth)])
    right = np.array([np.cos(azimuth), 0.0, -np.sin(azimuth)])
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = right, np.cross(back, right), back, DISTANCE * back
    return pose


__all__ = ["export_viewer", "frame", "page"]
