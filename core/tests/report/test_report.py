"""The report: what it says about runs of every kind, that it needs nothing outside itself, and its alarms."""

import html.parser
import json
import math
import re

import pytest

from limbeck import Run
from limbeck.errors import LimbeckError
from limbeck.report import write
from limbeck.report.alarms import alarms
from limbeck.report.curves import by_step, charts, thin
from limbeck.report.pictures import frames
from limbeck.report.reading import read
from limbeck.report.story import gap_closed, number, sentence

RECIPE = """
name: toy_dmd2
teacher: {use: image/digits}
generator: {use: image/digits, init: teacher}
objective: {use: dmd2, critic: {updates: 5}}
sampling: {use: multistep, steps: 1}
train: {steps: 200, batch_size: 8, lr: 2.0e-4, seed: 3}
evaluate: {metrics: [frechet]}
"""
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6360000000020001e527d4a2"
    "0000000049454e44ae426082"
)


def row(name, role, evaluations, ms, frechet, recall):
    metrics = {"frechet": frechet, "recall": recall}
    return {"name": name, "role": role, "sampler": "heun", "steps": 1, "evaluations": evaluations, "ms_per_sample": ms,
            "metrics": metrics}  # fmt: skip


ROWS = [
    row("teacher", "teacher", 35, 0.35, 0.5, 0.9),
    row("teacher, cut to 1 step", "teacher_cut", 1, 0.01, 20.5, 0.1),
    row("student", "student", 1, 0.01, 1.0, 0.8),
    row("real data, held out", "floor", 0, None, 0.25, 0.95),
]


@pytest.fixture
def folder(tmp_path):
    """A finished run with everything in it."""
    run = tmp_path / "runs" / "toy_dmd2"
    (run / "samples/comparison").mkdir(parents=True)
    (run / "recipe.yaml").write_text(RECIPE)
    (run / "run.json").write_text(
        json.dumps({"status": "finished", "command": "limbeck distill toy_dmd2", "versions": {"torch": "2.13.0"}})
    )
    write_metrics(run, critic=lambda s: 0.3 + math.exp(-s / 20), recall=lambda s: 0.5 + s / 1000)
    (run / "timings.jsonl").write_text(
        "".join(f'{{"step":{s},"seconds":{s / 2},"step_seconds":0.5}}\n' for s in range(1, 201))
    )
    table = {"rows": ROWS, "better": {"frechet": "lower", "recall": "higher"}, "primary": "frechet", "samples": 500,
             "seed": 0}  # fmt: skip
    (run / "evaluation.json").write_text(json.dumps(table))
    for step in (0, 100, 200):
        (run / f"samples/step-{step:06d}.png").write_bytes(PNG)
    for role in ("teacher", "student", "teacher_cut", "floor"):
        (run / f"samples/comparison/{role}.png").write_bytes(PNG)
    return run


def write_metrics(run, *, critic=lambda s: 0.3, loss=lambda s: 0.1, recall=lambda s: 0.8, frechet=lambda s: 1.0):
    lines = []
    for step in range(1, 201):
        for repeat in range(2):
            lines.append({"step": step, "phase": "critic", "repeat": repeat, "loss": critic(step), "lr": 2e-4})
        lines.append({"step": step, "phase": "generator", "repeat": 0, "loss": loss(step), "grad_norm": 1.5})
        if step % 50 == 0:
            lines.append({"step": step, "evaluation": {"frechet": frechet(step), "recall": recall(step)}})
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


class Page(html.parser.HTMLParser):
    """Which tags opened and closed, which addresses are asked for."""

    VOID = {"meta", "img", "input", "br", "link", "path", "circle", "rect"}

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.wrong = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for key, value in attrs if key in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.addresses += [value for key, value in attrs if key in ("src", "href")]

    def handle_endtag(self, tag):
        if tag not in self.VOID and (not self.open or self.open.pop() != tag):
            self.wrong.append(tag)


def text_of(folder):
    return write(Run(folder)).read_text()


def test_a_finished_run_is_told_in_one_sentence_with_costs_and_both_pictures(folder):
    page = text_of(folder)
    assert (
        "The teacher image/digits was distilled with dmd2 into a student that needs 1 network evaluation per sample "
        "instead of 35, 35 times faster, with frechet 1.00 against the teacher&#39;s 0.500." in page
    )
    assert page.index("distilled with dmd2") < page.index("data:image/png") < page.index("How well, at what cost")
    assert page.count("data:image/png") == 4 + 3 + 1  # compared, over time, and the one on the stage
    assert "<dt>time</dt><dd>1 min 40 s</dd>" in page
    assert "97.5 %" in page  # (20.5 - 1.0) / (20.5 - 0.5)


def test_the_page_is_whole_and_asks_for_nothing_outside_itself(folder):
    page = text_of(folder)
    parsed = Page(page)
    assert not parsed.wrong and not parsed.open
    assert all(address.startswith(("data:", "#")) for address in parsed.addresses)
    outside = re.sub(r'"http://www\.w3\.org/2000/svg"', "", page)
    assert "http://" not in outside and "https://" not in outside and "@import" not in outside
    assert "prefers-color-scheme: dark" in page and "Content-Security-Policy" in page


def test_everything_that_comes_from_files_is_escaped(folder):
    (folder / "recipe.yaml").write_text(RECIPE + 'report: {note: "<script>alert(1)</script>"}\n')
    (folder / "metrics.jsonl").write_text('{"step": 1, "phase": "\\"><b>x", "loss": 1.0}\n')
    page = text_of(folder)
    assert "<script>alert(1)" not in page and "&lt;script&gt;alert(1)" in page
    assert "<b>x" not in page and not Page(page).wrong


def test_best_values_carry_a_mark_and_not_only_a_colour(folder):
    page = text_of(folder)
    student = page[page.index('<tr class="role-student">') : page.index('<tr class="role-floor">')]
    floor = page[page.index('<tr class="role-floor">') : page.index("</tbody>")]
    assert student.count("★") == 2  # evaluations and time, tied with the cut teacher
    assert "★" not in floor  # real data does not compete
    teacher = page[page.index('<tr class="role-teacher">') : page.index('<tr class="role-teacher_cut">')]
    assert teacher.count("★") == 2  # frechet and recall


def test_a_run_without_teacher_is_a_pretraining(folder):
    (folder / "recipe.yaml").write_text(
        RECIPE.replace("teacher: {use: image/digits}\n", "").replace("dmd2", "flow_matching")
    )
    (folder / "evaluation.json").write_text(json.dumps({"rows": ROWS[2:], "better": {}, "primary": "frechet"}))
    (folder / "run.json").unlink()
    for role in ("teacher", "teacher_cut"):
        (folder / f"samples/comparison/{role}.png").unlink()
    page = text_of(folder)
    assert "was trained from scratch on data with flow_matching" in page
    assert "with frechet 1.00 (real held-out data: 0.250)" in page
    assert "limbeck pretrain recipe.yaml" in page and "distilled" not in page


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("running", "has not finished: it is at step 200 of 300"),
        ("interrupted", "was interrupted at step 200 of 300"),
        ("failed", "failed at step 200 of 300"),
    ],
)
def test_a_run_that_did_not_finish_says_so(folder, status, words):
    (folder / "recipe.yaml").write_text(RECIPE.replace("steps: 200", "steps: 300"))
    (folder / "run.json").write_text(json.dumps({"status": status}))
    page = text_of(folder)
    assert words in page and "is being distilled" in page


def test_a_run_that_has_barely_started_has_a_report(tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    page = text_of(tmp_path)
    assert "it has not been evaluated yet" in page and "No evaluation yet" in page and not Page(page).wrong


def test_an_evaluation_while_training_stands_in_for_the_final_table(folder):
    (folder / "evaluation.json").unlink()
    page = text_of(folder)
    assert "student at step 200" in page and "at step 200 its frechet is 1.00" in page


def test_a_torn_last_line_and_a_broken_table_do_not_stop_the_report(folder):
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"step": 201, "pha')
    (folder / "evaluation.json").write_text('{"rows": [')
    assert read(folder).torn_lines == 1
    assert "student at step 200" in text_of(folder)


def test_what_is_not_a_run_is_refused(tmp_path):
    with pytest.raises(LimbeckError, match="is not a run"):
        read(tmp_path)
    with pytest.raises(LimbeckError, match="no run at"):
        read(tmp_path / "nowhere")


def test_writing_twice_gives_the_same_page(folder):
    assert text_of(folder) == text_of(folder)
    assert not list(folder.glob("*.part"))


def test_numbers_are_written_as_people_write_them():
    cases = {
        0.5183: "0.518",
        35: "35",
        35.04: "35.0",
        18.234: "18.2",
        12345.6: "12,346",
        0.00001234: "1.23e-05",
        None: "n/a",
    }
    assert {value: number(value) for value in cases} == cases


def test_the_gap_closed_is_measured_from_the_cut_teacher_to_the_full_one(folder):
    assert gap_closed(read(folder)) == pytest.approx(19.5 / 20)
    assert "n/a" not in sentence(read(folder))


# --- curves ---


def test_thinning_keeps_every_spike_and_every_hole():
    x = list(range(50_000))
    y = [math.sin(k / 500) for k in x]
    y[31_415], y[27_182] = 99.0, None
    thin_x, thin_y = thin(x, y)
    assert len(thin_x) < 1300 and thin_x == sorted(thin_x) and (thin_x[0], thin_x[-1]) == (0, 49_999)
    assert max(v for v in thin_y if v is not None) == 99.0 and thin_y[thin_x.index(27_182)] is None


def test_updates_within_a_step_are_averaged():
    assert by_step([(1, 1.0), (1, 3.0), (2, 5.0), (2, math.nan)]) == ([1, 2], [2.0, None])


def test_metric_curves_carry_the_teacher_and_real_data_as_lines(folder):
    groups = charts(read(folder))
    assert list(groups) == ["Metrics", "Phase: critic", "Phase: generator", "Bookkeeping"]
    frechet = groups["Metrics"][0]
    assert frechet.title == "frechet ↓" and frechet.references == [("teacher", 0.5), ("real data", 0.25)]
    assert [chart.title for chart in groups["Bookkeeping"]] == [
        "critic: learning rate", "generator: gradient norm", "seconds per step"
    ]  # fmt: skip


def test_many_grids_are_thinned_with_first_and_last_kept(tmp_path):
    for step in range(0, 10_000, 100):
        (tmp_path / f"step-{step:06d}.png").write_bytes(PNG)
    shown = [frame.step for frame in frames(tmp_path)]
    assert len(shown) == 24 and (shown[0], shown[-1]) == (0, 9900)


# --- alarms ---


def titles(run):
    return [alarm.title for alarm in alarms(read(run))]


def test_a_healthy_run_raises_no_alarm_and_says_what_was_checked(folder):
    assert titles(folder) == []
    assert "None. Checked:" in text_of(folder)


def test_a_loss_that_is_not_finite_is_an_alarm_with_its_step(folder):
    write_metrics(folder, loss=lambda s: math.nan if s >= 150 else 0.1)
    (alarm,) = alarms(read(folder))
    assert "loss of phase generator from step 150 (51 of 200 steps)" in alarm.text and "train.lr" in alarm.advice
    page = text_of(folder)
    assert not Page(page).wrong and "1 alarm: values that are not finite" in page


def test_recall_that_collapses_between_evaluations_is_an_alarm(folder):
    write_metrics(folder, recall=lambda s: 0.71 if s <= 100 else 0.12)
    (alarm,) = alarms(read(folder))
    assert alarm.title == "Mode collapse" and "fell from 0.71 (step 50) to 0.12 (step 150)" in alarm.text
    assert "objective.critic.updates=10" in alarm.advice and "train.phases.critic.lr=0.0004" in alarm.advice


def test_a_recall_that_came_back_is_told_so(folder):
    write_metrics(folder, recall=lambda s: 0.2 if s == 100 else 0.8)
    (alarm,) = alarms(read(folder))
    assert "came back to 0.80" in alarm.text


def test_a_critic_whose_loss_grows_is_an_alarm(folder):
    write_metrics(folder, critic=lambda s: 0.3 if s < 120 else 0.72)
    (alarm,) = alarms(read(folder))
    assert alarm.title == "Critic lags" and "2.4 times its lowest" in alarm.text


def test_a_student_that_was_better_before_is_an_alarm(folder):
    write_metrics(folder, frechet=lambda s: {50: 3.0, 100: 1.0, 150: 1.2, 200: 1.9}[s])
    (alarm,) = alarms(read(folder))
    assert "was 1 at step 100 and is 1.9 at step 200" in alarm.text and "train.steps=100" in alarm.advice


def test_samples_that_are_copies_are_an_alarm(folder):
    (folder / "metrics.jsonl").write_text('{"step": 50, "evaluation": {"frechet": 0.1, "copied": 0.62}}\n')
    (alarm,) = alarms(read(folder))
    assert "62 % of the samples at step 50" in alarm.text


def test_a_saved_failure_is_an_alarm_that_names_its_folder(folder):
    (folder / "failures/step-000412").mkdir(parents=True)
    (folder / "failures/step-000412/reason.json").write_text(
        json.dumps(
            {"step": 412, "phase": "critic", "term": "loss 'score'", "value": "nan", "bad_samples": 3, "samples": 64}
        )
    )
    (alarm,) = alarms(read(folder))
    assert "Step 412, phase critic: loss 'score' was nan in 3 of 64 samples." in alarm.text
    assert "failures/step-000412" in alarm.text


def test_resumes_and_what_they_changed_are_told(folder):
    events = [
        {"at": "2026-01-01T00:00:00+00:00", "event": "started", "step": 0},
        {"at": "2026-01-01T00:05:00+00:00", "event": "resumed", "step": 100, "changes": {"train.lr": [0.0002, 0.0001]}},
        {"at": "2026-01-01T00:09:00+00:00", "event": "finished", "step": 200},
    ]
    (folder / "run.json").write_text(json.dumps({"status": "finished", "history": events}))
    assert "resumed at step 100 with train.lr 0.0002 → 0.0001, 2026-01-01 00:05:00" in text_of(folder)


# --- sections of plugins ---


def panels_of(*components):
    from limbeck.plugins.registry import registry

    return registry.register(list(components), name="panels")


def panel(name, target, modality="toyland"):
    from limbeck.manifest import Component

    return Component("panel", name, target, summary=f"section {name}", modality=modality)


class Fragment:
    title = "Turn it"

    def html(self):
        return '<p class="mine">mesh</p>'


def fails(run):
    raise ValueError("no <surface> in it\nand more")


def test_panels_of_the_modality_are_sections_and_one_that_fails_costs_a_line(folder):
    from limbeck.manifest import Component

    toy = Component("generator", "toy", "no_such:Net", modality="toyland")
    seen = []
    brought = [
        toy, panel("mesh", lambda run: seen.append(run.path.name) or Fragment()), panel("silent", lambda run: None),
        panel("spoiled", fails), panel("sound", lambda run: Fragment(), modality="elsewhere"),
    ]  # fmt: skip
    (folder / "recipe.yaml").write_text(RECIPE.replace("generator: {use: image/digits,", "generator: {use: toy,"))
    with panels_of(*brought):
        page = text_of(folder)
    assert seen == ["toy_dmd2"] and page.count('<p class="mine">mesh</p>') == 1 and page.count("<h2>Turn it</h2>") == 1
    assert "panels/spoiled could not be shown: ValueError: no &lt;surface&gt; in it</p>" in page
    assert "section silent" not in page and "section sound" not in page and not Page(page).wrong
    assert page.index("Turn it") < page.index("How well, at what cost")


# --- runs without noise: scenes and language models ---


def page_of(folder, domain, rows, better):
    (folder / "run.json").write_text(json.dumps({"status": "finished", "domain": domain}))
    (folder / "evaluation.json").write_text(json.dumps({"rows": rows, "better": better, "primary": next(iter(better))}))
    return text_of(folder)


def test_a_scene_is_told_by_its_views_and_not_by_network_evaluations(folder):
    rows = [
        {**row("teacher", "teacher", 23, 40.0, 1, 1), "metrics": {"iou": None}},
        {**row("student", "student", 0, 1.5, 1, 1), "metrics": {"iou": 0.9}},
    ]
    page = page_of(folder, "renders", rows, {"iou": "higher"})
    assert "into a student that renders a view in 1.50 ms, with iou 0.900." in page
    assert (
        "milliseconds per view" in page and "times faster" not in page and "network evaluations per sample<" not in page
    )
    assert "shown with the same cameras in every place" in page and "same noise" not in page
    assert "limbeck sample runs/toy_dmd2 -n 24 -o orbit.gif" in page


def test_two_language_models_are_compared_in_time_and_not_in_evaluations(folder):
    rows = [
        {**row("teacher", "teacher", 64, 90.0, 1, 1), "metrics": {"nll": 3.55, "kl": 0.0}},
        {**row("student", "student", 64, 30.0, 1, 1), "metrics": {"nll": 3.9, "kl": 0.5}},
    ]
    page = page_of(folder, "tokens", rows, {"nll": "lower", "kl": "lower"})
    assert "into a student that is 3.0 times faster, with nll 3.90 against the teacher&#39;s 3.55." in page
    assert "the same seed and beginning in every place" in page and "of the gap closed" not in page
    assert "limbeck sample runs/toy_dmd2 --prompt &#34;...&#34;" in page
    slower = page_of(folder, "tokens", [{**rows[0], "ms_per_sample": 20.0}, rows[1]], {"nll": "lower"})
    assert "into a student, with nll 3.90" in slower


def test_a_teacher_that_is_better_when_cut_leaves_no_gap_to_close(folder):
    rows = [dict(r, metrics=dict(r["metrics"])) for r in ROWS]
    rows[1]["metrics"]["frechet"] = 0.25
    (folder / "evaluation.json").write_text(
        json.dumps({"rows": rows, "better": {"frechet": "lower"}, "primary": "frechet"})
    )
    assert gap_closed(read(folder)) is None and "of the gap closed" not in text_of(folder)
