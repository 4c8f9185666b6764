"""What ``docs/protocol.md`` says is what the code does: its examples, fields, codes and flags."""

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from agentsocket.protocol.close_codes import CloseCode
from agentsocket.protocol.errors import ErrorCode
from agentsocket.protocol.frames import AnyClientFrame, AnyServerFrame, TaskSnapshot
from agentsocket.settings import Settings
from docs.asyncapi import DOCS, GOLDEN, Prose, describe

TEXT = (DOCS / "protocol.md").read_text()
PROSE = Prose(TEXT)
FRAMES = {frame.event: frame for frame in (*get_args(AnyClientFrame), *get_args(AnyServerFrame))}
SCHEMAS = describe()["components"]["schemas"]


def as_text(frame: object) -> str:
    return json.dumps(frame, sort_keys=True)


def test_the_examples_are_the_golden_frames_each_once() -> None:
    examples = [as_text(json.loads(block)) for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)]
    assert sorted(examples) == sorted(as_text(json.loads(path.read_text())) for path in GOLDEN.glob("*.json"))


@pytest.mark.parametrize("name", [*FRAMES, "TaskSnapshot"])
def test_the_fields_of_a_frame_are_told(name: str) -> None:
    told = PROSE.table(name)
    fields = set(FRAMES[name].model_fields if name in FRAMES else TaskSnapshot.model_fields)
    assert set(told) == fields - {"seq"}


@pytest.mark.parametrize("name", [*FRAMES, "TaskSnapshot"])
def test_a_field_is_told_to_be_optional_where_it_may_be_missing(name: str) -> None:
    schema = SCHEMAS[name]["properties"]["data"] if name in FRAMES else SCHEMAS[name]
    told = {field for field, (kind, _) in PROSE.table(name).items() if "optional" not in kind}
    assert told == set(schema.get("required", []))


def test_every_error_code_is_told() -> None:
    assert list(PROSE.table("Error codes")) == list(ErrorCode)


def test_every_close_code_is_told_and_its_number_says_whether_to_reconnect() -> None:
    told = {int(code): reconnect for code, (reconnect, _) in PROSE.table("Close codes").items()}
    assert set(CloseCode) <= set(told)
    assert {code for code, reconnect in told.items() if code >= 4000 and reconnect == "yes"} == {
        code for code in CloseCode if 4000 <= code < 4500
    }


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.stem)
def test_every_flag_that_a_document_names_is_a_flag_of_the_server(path: Path) -> None:
    named = set(re.findall(r"`--(?:no-)?([a-z-]+)", path.read_text()))
    assert named <= {name.replace("_", "-") for name in Settings.model_fields}
