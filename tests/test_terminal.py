import logging

import pytest

from sampan.terminal import OneLine, one_line, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cat \x1b[31mred\x1b[0m", "cat \\u001b[31mred\\u001b[0m"),
        ("a\nerror: forged\r", "a\\nerror: forged\\r"),
        ("\x9b2J", "\\u009b2J"),
        ("exe\u202egnp", "exe\\u202egnp"),
        ("\ud800", "\\ud800"),
        ("Grüße 猫 👩\u200d🔬", "Grüße 猫 👩\u200d🔬"),
    ],
)
def test_text_from_data_cannot_steer_a_terminal_nor_begin_a_line(text, shown):
    assert one_line(text) == shown


def test_long_texts_are_cut():
    assert shortened("x" * 60) == "x" * 60
    assert shortened("x" * 61) == "x" * 60 + "…"


def test_log_lines_are_lines_and_keep_their_tracebacks():
    try:
        raise ValueError("why")
    except ValueError as fault:
        info = (ValueError, fault, fault.__traceback__)
    record = logging.LogRecord("n", 20, "p", 1, "label %s", ("\x1b[2J\n",), info)

    first, second, *_, last = OneLine("%(levelname)s %(message)s").format(record).splitlines()

    assert first == "INFO label \\u001b[2J\\n"
    assert second.startswith("Traceback")
    assert last == "ValueError: why"
