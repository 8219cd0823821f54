"""Sources of texts that a model writes."""

from limbeck.manifest import Component

COMPONENTS = [
    Component(
        "source",
        "on_policy",
        "limbeck_text.sources.on_policy:OnPolicySource",
        summary="rows of the data, or with a given chance the student's completions of their beginnings",
        options="limbeck_text.options.sources:OnPolicySourceOptions",
        modality="text",
        example={"prompt": 8},
        can={"samples"},
        reference="Agarwal et al. 2024 (GKD)",
    ),
    Component(
        "source",
        "teacher_text",
        "limbeck_text.sources.teacher_text:TeacherTextSource",
        summary="the teacher's completions of the data's beginnings, written once or anew every step",
        options="limbeck_text.options.sources:TeacherTextSourceOptions",
        modality="text",
        example={"count": 16, "prompt": 8},
        can={"samples"},
        reference="Kim & Rush 2016",
    ),
]
