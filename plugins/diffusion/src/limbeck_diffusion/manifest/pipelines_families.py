"""Pipelines of diffusers as components of a modality: for the manifests of image, video and audio, which never import
each other. Imports neither torch nor pydantic."""

from limbeck.manifest import Component

_PACKAGE = "limbeck_diffusion.pipelines"
_FAMILIES = {
    "image": "Stable Diffusion 1.5, XL and 3, FLUX, SANA, DiT",
    "video": "Wan",
    "audio": "Stable Audio",
}
_CAN = {"gaussian", "denoiser", "features", "trainable_copy", "null_condition", "sampling", "codec"}


def family_components(modality: str) -> list[Component]:
    """Teacher and generator `diffusers` of a modality."""
    families = _FAMILIES[modality]
    can = _CAN | {"frame_time"} if modality == "video" else _CAN
    return [
        Component(
            "teacher",
            "diffusers",
            f"{_PACKAGE}.loading:{modality}_teacher",
            summary=f"a pipeline of diffusers, from a folder or the hub: {families}",
            options=f"{_PACKAGE}.options:DiffusersTeacherOptions",
            modality=modality,
            can=can,
            extra="diffusers",
            details={"families": families, "conditions": "prompts, what they are encoded to, or class labels"},
            example=None,  # a model of somebody's own, or from the hub
        ),
        Component(
            "generator",
            "diffusers",
            f"{_PACKAGE}.loading:{modality}_student",
            summary=f"the denoiser of a pipeline of diffusers, to train: {families}",
            options=f"{_PACKAGE}.options:DiffusersStudentOptions",
            modality=modality,
            can=can,
            extra="diffusers",
            details={"families": families, "init": "teacher: a full copy, or adapters on the same weights (lora)"},
            example=None,  # a model of somebody's own, or from the hub
        ),
    ]
