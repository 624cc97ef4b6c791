"""Latencies, counts and trials of real records, summed up as by hand, and the files that show them."""

import json
import math
import re
import shutil
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from dactyl_tl.errors import ConfigurationError
from dactyl_tl.evaluation.campaign import FILE, CampaignLog
from dactyl_tl.evaluation.paper import TABLE_3
from dactyl_tl.protocol import Ending
from dactyl_tl.trials import Trial, Turn
from hardware.__main__ import main
from hardware.lowlevel.realtime import Lateness
from hardware.lowlevel.wire import BUCKETS
from hardware.records.latency import controller_ticks, latency_budget, step_times
from hardware.records.mcap_file import Record
from hardware.records.report import print_report, write_report
from hardware.records.summary import CAMPAIGN, summarize
from hardware.records.trial_record import read_trial
from tests.hardware.records.recording import controller_counts, record_trial, rewrite

POLICIES = ("block_none", "block_lstm")
LIMITS = {"rotations": 3, "timeout": 8.0}


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """Two policies, three trials each, one of which was interrupted first; what they came to."""
    folder = tmp_path_factory.mktemp("runs") / "campaign #1"
    definition = {"policies": [[name, name] for name in POLICIES], "trials": 4, "seed": 0, "limits": LIMITS}
    log = CampaignLog(folder / FILE, definition)
    number = 0
    for trial in range(3):
        for policy in POLICIES:
            if (policy, trial) == ("block_lstm", 1):
                record_trial(
                    folder / "records" / "broken.mcap", policy, 7 + trial, trial, number, interrupt=6
                )
            path = folder / "records" / f"{number:04d}_{policy}.mcap"
            outcome = record_trial(path, policy, 7 + trial, trial, number, drop=9 + 4 * trial)
            log.keep(Turn(number, policy, policy, trial, 7 + trial), outcome)
            number += 1
    return folder, log.done


def table(page, title):
    """The cells of the table under a heading, without tags."""
    below = page.partition(f"<h2>{title}</h2>")[2].partition("</table>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", below, re.DOTALL)
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL) for row in rows]
    return [[" ".join(re.sub(r"<.*?>", "", cell).split()) for cell in row] for row in cells]


def test_stages_are_summed_up_over_all_steps_of_all_records(tmp_path):
    for name, times in (("a", [1, 2, 3]), ("b", [10, None, 30, 40])):
        record = Record(tmp_path / f"{name}.mcap")
        told = {"number": 0, "policy": "p", "source": "p", "trial": 0, "seed": 0, "sample_actions": True}
        record.write("trial", **told, goals={}, actions={}, limits=LIMITS)
        for step, milliseconds in enumerate(times):
            value = None if milliseconds is None else milliseconds * 1_000_000
            record.write("latency", step=step, missed=step == 2, sense_ns=5_000_000, infer_ns=250_000 * step,
                         send_ns=1, act_ns=value, late_ns=-1000)  # fmt: skip
        record.close()
    budget = latency_budget([step_times(read_trial(tmp_path / f"{name}.mcap")) for name in "ab"])
    assert (budget.steps, budget.missed) == (7, 2)
    sense, infer, _, act, late = budget.stages
    assert (sense.median, sense.high, sense.longest) == (5.0, 5.0, 5.0)
    assert infer.median == 0.25  # of 0, 0, 0.25, 0.25, 0.5, 0.5, 0.75
    assert (act.count, act.median, act.longest) == (6, 6.5, 40.0)  # of 1, 2, 3, 10, 30, 40
    assert act.high == pytest.approx(39.5)  # 4.95 of 5 intervals up: 30 + 0.95 * 10
    assert late.median == pytest.approx(-0.001)


def test_without_steps_there_are_no_numbers():
    budget = latency_budget([])
    assert (budget.steps, budget.missed) == (0, 0)
    assert all(math.isnan(stage.median) and stage.count == 0 for stage in budget.stages)
    ticks = controller_ticks([None])
    assert (ticks.ticks, ticks.unknown) == (0, 1)
    assert math.isnan(ticks.at_most(99))


def test_counts_of_all_controllers_are_added_and_percentiles_are_bounds():
    rng = np.random.default_rng(3)
    late = rng.lognormal(4.0, 1.0, size=(2, 500))  # microseconds
    counts = []
    for each in late:
        lateness = Lateness(5_000_000)
        for value in each:
            lateness.add(1, round(value * 1000))
        counts.append(controller_counts(ticks=500, lateness=lateness.counts))
    ticks = controller_ticks([*counts, None])
    assert (ticks.ticks, ticks.refused, ticks.clipped, ticks.slowed, ticks.unknown) == (1000, 4, 14, 22, 1)
    assert sum(ticks.lateness) == 1000
    for percent in (1, 50, 90, 99, 99.9, 100):
        truth = np.percentile(late, percent, method="inverted_cdf")
        assert truth <= ticks.at_most(percent) < 2 * truth + 1


def test_the_last_bucket_has_no_end():
    lateness = [0] * BUCKETS
    lateness[0], lateness[-1] = 99, 1
    ticks = controller_ticks([controller_counts(lateness=lateness)])
    assert ticks.at_most(99) == 1.0
    assert ticks.at_most(99.5) == math.inf


def test_table_3_comes_out_from_its_trials(tmp_path):
    paper = TABLE_3["block", "hand"]
    log = CampaignLog(tmp_path / FILE, {"policies": [["paper", "hand"]], "trials": 10})
    for index, rotations in enumerate(paper.trials):
        trial = Trial(index, 0, 0, rotations, Ending.DROPPED, 6.0 * rotations, ())
        log.keep(Turn(index, "paper", "", index, 0), trial)
    record_trial(tmp_path / "records" / "other.mcap")
    (row,) = summarize(tmp_path).rows
    assert (round(row.mean, 1), round(row.std, 1), row.median) == (paper.mean, paper.std, paper.median)
    assert row.trials == tuple(sorted(paper.trials, reverse=True))
    assert row.per_minute == pytest.approx(10.0)


def test_trials_that_count_are_the_campaigns_and_found_in_its_records(campaign):
    folder, done = campaign
    assert CAMPAIGN == FILE
    summary = summarize(folder)
    assert [(each.policy, each.trial) for each in summary.trials] == list(done)
    for each in summary.trials:
        trial = done[each.policy, each.trial]
        assert (each.rotations, each.ending, each.seconds) == (trial.successes, trial.ending, trial.seconds)
        assert each.attempt.outcome["seconds"] == trial.seconds
        assert each.attempt.record.endswith(f"{each.policy}.mcap")
    assert summary.planned == 8
    assert [each.record for each in summary.interrupted] == ["records/broken.mcap"]
    assert len(summary.attempts) == 7
    assert summary.budget.steps == sum(len(each.times.stages["sense"]) for each in summary.attempts)
    assert summary.settings["limits.rotations"] == ("3",)


def test_without_the_campaigns_file_every_outcome_counts(campaign, tmp_path):
    shutil.copytree(campaign[0] / "records", tmp_path / "records")
    assert {(each.policy, each.trial) for each in summarize(tmp_path).trials} == set(campaign[1])


def test_what_was_not_kept_does_not_count(campaign, tmp_path):
    folder = shutil.copytree(campaign[0], tmp_path / "again")
    lines = (folder / FILE).read_text().splitlines(keepends=True)
    (folder / FILE).write_text("".join(lines[:-1]) + lines[-1][:40])  # killed as the last trial was kept
    summary = summarize(folder)
    assert len(summary.trials) == 5
    assert [each.record for each in summary.interrupted] == [
        "records/broken.mcap",
        "records/0005_block_lstm.mcap",
    ]
    page = write_report(folder)[0].read_text()
    assert table(page, "Attempts that do not count")[2][2].startswith("it ended, but the campaign")


def test_the_page_says_what_happened(campaign):
    folder, done = campaign
    files = write_report(folder)
    assert [path.name for path in files] == ["report.html", "report.png"]
    page = files[0].read_text()

    rotations = table(page, "Rotations in a row")[1:]
    for policy, row in zip(POLICIES, rotations, strict=True):
        counts = [trial.successes for (name, _), trial in done.items() if name == policy]
        assert row[:2] == [policy, f"{np.mean(counts):.1f} ± {np.std(counts, ddof=1):.1f}"]
        assert row[2:4] == [f"{np.median(counts):g}", " ".join(map(str, sorted(counts, reverse=True)))]

    trials = table(page, "Trials")[1:]
    assert [(row[0], int(row[1])) for row in trials] == list(done)
    links = [unquote(link) for link in re.findall(r'<a href="(.*?)"', page)]
    assert len(links) == 7
    assert all((folder / link).is_file() for link in links)

    assert table(page, "Attempts that do not count")[1][:3] == [
        "block_lstm, trial 1", "0.5", "the hand is in hold: tracking lost",
    ]  # fmt: skip
    controller = dict(table(page, "Low-level controller"))
    assert controller["lateness of 50 % of the ticks"] == "at most 32 µs"
    assert controller["messages refused"] == "14"
    settings = dict(table(page, "Settings"))
    assert settings["versions.torch"].startswith("2.")


def test_the_page_needs_nothing_else_and_runs_nothing(campaign, tmp_path):
    def hostile(topic, fields):
        if topic == "trial":
            fields["policy"] = "<script>alert(1)</script>"
            fields["task"] = "</code><img src=x onerror=alert(1)>"
        if topic == "interruption":
            fields["why"] = "<b>why</b>"

    rewrite(campaign[0] / "records" / "broken.mcap", tmp_path / "records" / "a.mcap", hostile)
    page = write_report(tmp_path)[0].read_text()
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;why" in page
    assert not re.search(r"<script|<b>|onerror=alert\(1\)>|<link|@import|url\(", page)
    assert {source[:26] for source in re.findall(r'src="(.*?)"', page)} == {"data:image/svg+xml;base64,"}


def test_settings_that_differ_between_attempts_are_marked(campaign, tmp_path):
    def newer(topic, fields):
        if topic == "trial":
            fields["versions"]["torch"] = "9.9"

    first = campaign[0] / "records" / "0000_block_none.mcap"
    (tmp_path / "records").mkdir()
    shutil.copy(first, tmp_path / "records" / "a.mcap")
    rewrite(first, tmp_path / "records" / "b.mcap", newer)
    page = write_report(tmp_path)[0].read_text()
    assert page.count("differs between attempts") == 1
    assert "| 9.9 differs" in dict(table(page, "Settings"))["versions.torch"]


def test_damaged_records_are_named(campaign, tmp_path):
    data = (campaign[0] / "records" / "0000_block_none.mcap").read_bytes()
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "cut.mcap").write_bytes(data[: len(data) // 2])
    (tmp_path / "records" / "other.mcap").write_bytes(b"no record")
    page = write_report(tmp_path)[0].read_text()
    named = dict(table(page, "Records that are damaged")[1:])
    assert "cut off" in named["records/cut.mcap"]
    assert "is no record" in named["records/other.mcap"]
    assert "1 attempts have no counts" in page


def test_the_picture_shows_bars_of_every_policy(campaign):
    picture = np.asarray(Image.open(write_report(campaign[0])[1]).convert("RGB"), dtype=int)
    assert picture.shape == (1110, 1575, 3)
    upper = picture[: picture.shape[0] // 2]
    for colour in ((0x2F, 0x6F, 0xB7), (0xE0, 0x79, 0x2B)):
        assert (np.abs(upper - colour).max(axis=2) < 3).sum() > 1000
    assert (picture == 255).all(axis=2).mean() > 0.5


def test_the_terminal_fits_eighty_columns(campaign):
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    files = print_report(campaign[0], console)
    text = console.export_text()
    assert all(path.exists() for path in files)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert re.search(r"sense .* 5\.\d+ ", text)
    assert "700 ticks, 7 missed" in " ".join(text.split())


def test_the_command_reports_and_refuses(campaign, tmp_path, capsys):
    assert main(["report", str(campaign[0])]) == 0
    assert "report.html" in "".join(capsys.readouterr().out.split())
    assert main(["report", str(tmp_path)]) == 2
    assert "holds no records" in capsys.readouterr().err
    (tmp_path / FILE).write_text("not json\n")
    record_trial(tmp_path / "records" / "a.mcap")
    assert main(["report", str(tmp_path / "records" / "a.mcap")]) == 2
    assert "is no directory" in capsys.readouterr().err
    with pytest.raises(ConfigurationError, match="is no campaign"):
        write_report(tmp_path)
    (tmp_path / FILE).write_text(json.dumps({"policies": []}))  # its only line was cut off
    assert len(summarize(tmp_path).trials) == 1
