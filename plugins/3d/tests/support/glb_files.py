"""What is in a GLB file, without a library for it."""

import json
import struct

import numpy as np


def colour_near(vertices, colors, point):
    nearest = np.linalg.norm(vertices - np.asarray(point), axis=1).argmin()
    return colors[nearest][:3].astype(float) / 255


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
