from __future__ import annotations

from sage._kept import kept


class Text:
    def __init__(self, text):
        self.text = text
        self.asked = 0

    @kept
    def size(self):
        """How long it is."""
        self.asked += 1
        return len(self.text)


def test_it_is_worked_out_once_for_each_object():
    short, long = Text("a"), Text("abc")
    assert (short.size, short.size, long.size, long.size) == (1, 1, 3, 3)
    assert (short.asked, long.asked) == (1, 1)
    assert short.__dict__["size"] == 1


def test_it_is_worked_out_again_once_it_was_dropped():
    text = Text("a")
    assert text.size == 1
    text.text = "abc"
    assert text.size == 1
    del text.size
    assert text.size == 3


def test_the_class_shows_what_was_decorated():
    assert isinstance(Text.size, kept)
    assert Text.size.__doc__ == "How long it is."
