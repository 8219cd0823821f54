from limbeck_3d.prompts.solids import parse


def test_prompts_and_captions_agree():
    for prompt in (
        "a red torus",
        "an orange sphere",
        "a red torus on a blue box",
        "a cyan cross on an orange cylinder",
    ):
        solid = parse(prompt)
        assert solid is not None and solid.caption() == prompt


def test_known_words_may_describe_no_solid():
    assert parse("red on box") is None and parse("a red chair on a blue box") is None
