import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.chart import chart
from bench.cheap_client import Link, Talk
from bench.figures import TIMES, Figure, Goal, ratio, value
from bench.report import document, table
from bench.results import Result, Samples

ROOT = Path(__file__).parent.parent
PATIENCE = 60


def bench(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)


def result(samples: Samples, *goals: Goal) -> Result:
    return Result("burst", "rate", Figure("frames/s", 0, goals), samples, samples.get("bare", []))


def test_a_quick_run_measures_every_server_and_writes_table_json_and_chart(tmp_path: Path) -> None:
    json_file, svg_file = tmp_path / "figures.json", tmp_path / "chart.svg"
    run = bench("--quick", "--only", "cancel,burst", "--json", str(json_file), "--svg", str(svg_file))
    assert run.returncode == 0, run.stderr
    figures = json.loads(json_file.read_text())["scenarios"]
    assert list(figures) == ["burst", "cancel"]
    for figure in (figures["burst"]["rate"], figures["burst"]["cpu"], figures["cancel"]["p50"]):
        assert set(figure["median"]) == {"server", "bare", "usual"}
        assert all(median > 0 for median in figure["median"].values())
        assert figure["ratio"] == pytest.approx(figure["median"]["server"] / figure["median"]["bare"])
    assert figures["burst"]["resumable rate"]["ratio"] > 0
    rate = f"{figures['burst']['rate']['median']['server']:,.0f}"
    assert rate in run.stdout
    assert rate in [text.text for text in ET.parse(svg_file).iter("{http://www.w3.org/2000/svg}text")]


def test_an_unknown_scenario_is_refused_with_the_names_that_there_are() -> None:
    run = bench("--only", "burst,brust")
    assert run.returncode == 2
    assert "there is no brust" in run.stderr
    assert "round-trip" in run.stderr


def test_a_ratio_is_the_median_of_the_ratios_of_each_round() -> None:
    noisy = result({"server": [400.0, 40.0, 390.0], "bare": [100.0, 10.0, 100.0]})
    assert noisy.ratio == 4.0
    assert noisy.median("server") == 390.0
    assert noisy.spread("server") == pytest.approx(350 / 390)


def test_a_missed_goal_is_marked_and_a_reached_one_too() -> None:
    samples = {"server": [300.0], "bare": [100.0]}
    assert result(samples, ratio("≥", 3), value("≤", 300)).missed == []
    assert result(samples, ratio("≥", 4), value("≤", 299)).missed == [f"≥ 4{TIMES}", "≤ 299"]
    assert f"MISSED: ≥ 4{TIMES}" in table([result(samples, ratio("≥", 4))])
    assert "✓" in table([result(samples, ratio("≥", 3))])


def test_a_goal_against_a_peer_that_was_not_measured_is_not_missed() -> None:
    assert result({"server": [300.0]}, ratio("≥", 4)).missed == []


def test_the_chart_has_a_panel_for_what_was_measured_and_no_other() -> None:
    machine = {"cores": 2, "python": "CPython 3.11", "websockets": "17"}
    drawn = chart(document([result({"server": [600.0], "bare": [150.0]})], machine))
    bars = [rect for rect in ET.fromstring(drawn).iter() if rect.get("class", "").startswith("bar")]
    own, bare = (float(bar.get("width", "")) for bar in bars)
    assert own == pytest.approx(4 * bare, rel=0.01)
    assert "50 at once" not in drawn


def test_the_cheap_client_gives_out_whole_frames_wherever_the_bytes_are_cut() -> None:
    frames = b'{"event":"a","data":{"n":1}}\x81\x1c{"event":"b","data":{"n":2}}'
    for cut in range(1, len(frames)):
        link = Link.__new__(Link)
        link._rest = b""
        assert b"".join(received(link, chunk) for chunk in (frames[:cut], frames[cut:])) == frames


def received(link: Link, chunk: bytes) -> bytes:
    talk: Talk[bytes] = link.receive()
    next(talk)
    with pytest.raises(StopIteration) as end:
        talk.send(chunk)
    whole: bytes = end.value.value
    assert whole == b"" or whole.endswith(b"}}")
    return whole
