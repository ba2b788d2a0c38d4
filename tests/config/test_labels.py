from unicodedata import normalize

from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.config.labels import tidy


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=12))
def test_the_form_is_a_form(text):
    assert tidy(tidy(text)) == tidy(text)
    assert tidy(f" {text}\n") == tidy(text)
    assert tidy(normalize("NFD", text)) == tidy(text)
