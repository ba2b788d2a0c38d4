"""
The one form in which labels, groups and names of splits are written, so that equals are equal text.

Text is in Unicode normal form C and has no white space at its ends; numbers are written the
shortest way, so that 1, 1.0 and "1" are one label; "01", "1.0" and other spellings in a text stay
what they are, and so does case. Keys are not labels: they are taken as they come.
"""

import unicodedata

EDGES = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
    "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"  # white space (Unicode 16, White_Space)
    "\0\u200b\u2060\ufeff"  # what pads and marks, and is not seen
)


def tidy(text: str) -> str:
    """The text in normal form C without white space, padding and byte order marks at its ends."""
    text = text.strip(EDGES)
    return text if text.isascii() else unicodedata.normalize("NFC", text)
