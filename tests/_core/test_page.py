"""The page: everything is escaped, nothing is fetched, what opens closes, pictures are inside."""

import base64
import io
import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from isocline._core.motif import motif
from isocline._core.page import Badge, Blocks, Link, Page, anchor, drawn

VOID = {"meta", "img", "br", "path"}
HOSTILE = "<script>alert('x')</script> \" onload='y' & {{ 7 * 7 }} {% raw %}"


class Reader(HTMLParser):
    """Reads a page as a browser would: tags with their attributes, the text; all that opens must close."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def png(width=3, height=2):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def full_page(word="word"):
    page = Page(word, lead=word, facts={word: word, "n": 3}, badge=Badge(word, "good"))
    page.section(word, Badge(word, "bad")).text(word).heading(word, Badge(word, "open"))
    page.table([word, "n"], [[word, 1], [Badge(word, "info"), None], [Link(word, "#x"), 2]], caption=word)
    page.figure(png(), caption=word, alt=word).code(word, caption=word).facts({word: Badge(word)})
    page.details(word, word).code(word).table([word], [[word]])
    return page.section("another")


class TestSafety:
    @given(st.text())
    def test_any_text_anywhere_is_only_text(self, word):
        plain, given_ = Reader(full_page("word").html()), Reader(full_page(word).html())
        kinds = [tag for tag, _ in given_.tags if tag not in ("p", "figcaption")]  # empty ones are left out
        assert kinds == [tag for tag, _ in plain.tags if tag not in ("p", "figcaption")]

    def test_markup_and_templates_are_shown_not_obeyed(self):
        html = full_page(HOSTILE).html()
        page = Reader(html)
        assert "script" not in {tag for tag, _ in page.tags}
        assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
        assert "<script>alert('x')</script>" in page.text
        assert "{{ 7 * 7 }}" in page.text

    def test_nothing_is_fetched_and_nothing_runs(self):
        html = full_page().html()
        page = Reader(html)
        policy = next(meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
        assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
        assert all(image["src"].startswith("data:image/png;base64,") for image in page.all("img"))
        assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
        assert not re.search(r"url\(|@import|https?://", html)

    def test_what_no_page_can_show_is_left_out(self, tmp_path):
        page = Page("a\x00b").code("\x1b[31mred\x1b[0m\ud800 \x7f\ttab\nline")
        written = page.write(tmp_path / "new" / "index.html").read_bytes().decode("utf-8")
        assert "<title>ab</title>" in written
        assert "<code>red \ttab\nline</code>" in written

    @pytest.mark.parametrize("to", ["javascript:alert(1)", "data:text/html,x", "JavaScript:x", "vbscript:x"])
    def test_a_link_goes_to_pages_only(self, to):
        with pytest.raises(ValueError, match="to: want '#place', a relative path, or http"):
            Link("x", to)


class TestBlocks:
    def test_cells_are_written_for_readers(self):
        row = [
            3001, 12345, -1234567, 0.5, 1.5e-12, 1.5e9, -2.5, np.float32(0.25), np.int64(7), np.inf,
            -np.inf, np.nan, None, True, False, "text", np.bool_(True), 3001.0, 123456.7, -0.0,
        ]  # fmt: skip
        html = Page("t").table([str(i) for i in range(len(row))], [row]).html()
        cells = [re.sub(r"\s+$", "", cell) for cell in re.findall(r"<td[^>]*>([^<]*)</td>", html)]
        assert cells == [
            "3001", "12\u202f345", "−1\u202f234\u202f567", "0.5", "1.5e−12", "1.5e9", "−2.5", "0.25", "7",
            "∞", "−∞", "NaN", "–", "yes", "no", "text", "yes", "3001", "123\u202f457", "0",
        ]  # fmt: skip

    def test_numbers_stand_at_the_right_unless_told(self):
        rows = [["a", 1, True], ["b", None, False]]
        classes = re.findall(r'<th scope="col" class="(.)">', Page("t").table(["x", "y", "z"], rows).html())
        assert classes == ["l", "r", "l"]
        told = Page("t").table(["x", "y", "z"], rows, align="clr").html()
        assert re.findall(r'<th scope="col" class="(.)">', told) == ["c", "l", "r"]

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda p: p.table(["a", "b"], [[1, 2], [1]]), r"rows\[1\]: want 2 cells, one a column, got 1"),
            (lambda p: p.table(["a"], [[1]], align="x"), "align: want 1 letters out of l, r, c, got 'x'"),
            (lambda p: p.table(["a"], [[1]], align="ll"), "align: want 1 letters"),
            (
                lambda p: p.figure(b"GIF89a"),
                "picture: want a matplotlib Figure or the bytes of a PNG, got 6 other",
            ),
            (lambda p: p.figure("x.png"), "picture: want a matplotlib Figure or the bytes of a PNG, got str"),
            (lambda p: Badge("x", "green"), "tone: want one of 'good', 'bad', 'open', 'info', got 'green'"),
        ],
    )
    def test_wrong_calls(self, call, message):
        with pytest.raises((ValueError, TypeError), match=message):
            call(Page("t"))

    def test_paragraphs_are_parted_by_an_empty_line(self):
        assert [block.content for block in Blocks().text(" one\ntwo \n\n \nthree ").blocks] == [
            ["one\ntwo ", "three"]
        ]

    def test_places_are_unique_and_the_contents_lead_to_them(self):
        page = Page("t").section("Worst case").heading("Result").section("Worst-Case").heading("Result")
        page.details("more").heading("Result")
        html = Reader(page.html())
        places = [attributes["id"] for tag, attributes in html.tags if tag in ("h2", "h3")]
        assert places == ["worst-case", "result", "worst-case-2", "result-2", "result-3"]
        assert [link["href"] for link in html.all("a")] == [f"#{place}" for place in places[:4]]
        assert anchor("Worst case") == places[0]
        assert anchor("…") == "section"

    def test_a_short_page_has_no_contents(self):
        assert not Reader(Page("t").section("one").html()).all("nav")

    def test_details_hold_their_blocks(self):
        page = Page("t")
        page.details("Settings", "Why.").code("seed 3")
        html = page.html()
        inside = html[html.index("<details>") : html.index("</details>")]
        assert "Settings" in inside
        assert "<p>Why.</p>" in inside
        assert "<code>seed 3</code>" in inside


class TestPictures:
    def test_a_png_is_embedded_at_its_size(self):
        image = Reader(Page("t").figure(png(30, 20), "caption").html()).all("img")[0]
        assert base64.b64decode(image["src"].split(",")[1]) == png(30, 20)
        assert (image["width"], image["height"], image["alt"]) == ("30", "20", "caption")

    def test_a_figure_is_drawn_and_left_as_it_was(self):
        figure = Figure(figsize=(4, 3))
        figure.subplots().plot([0, 1])
        before = figure.dpi, figure.get_size_inches().tolist(), figure.get_facecolor()
        image = Reader(Page("t").figure(figure, alt="a line").html()).all("img")[0]
        assert (figure.dpi, figure.get_size_inches().tolist(), figure.get_facecolor()) == before
        drawn = Image.open(io.BytesIO(base64.b64decode(image["src"].split(",")[1])))
        assert int(image["width"]) == round(drawn.width * 96 / 160)
        assert image["alt"] == "a line"
        assert plt.get_fignums() == []

    def test_a_picture_drawn_elsewhere_is_the_same(self):
        figure = Figure()
        figure.subplots().plot([0, 1])
        picture = drawn(figure)
        assert picture.png.startswith(b"\x89PNG")
        assert Page("t").figure(picture).html() == Page("t").figure(figure).html()

    def test_only_drawings_of_lines_are_turned_light_on_dark(self):
        lines, heat = Figure(), Figure()
        lines.subplots().plot([0, 1])
        heat.subplots().imshow(np.zeros((2, 2)))
        images = Reader(Page("t").figure(lines).figure(heat).figure(png()).html()).all("img")
        assert [image.get("class") for image in images] == ["lines", None, None]

    def test_the_same_page_has_the_same_bytes(self):
        def written():
            figure = Figure()
            figure.subplots().plot([0, 1])
            return full_page().figure(figure).html()

        assert written() == written()


def numbers(path):
    return np.array([float(number) for number in re.findall(r"[-\d.]+", path["d"])])


def test_the_sign_of_the_house_is_true():
    """The curves drawn are y = x^2 + c and the solution y = x^2 + 2x + 2; ticks on the first have slope c."""
    scale = 5600 / 5.6  # pixels per unit; one decimal of a pixel is kept
    paths = Reader(motif(5600)).all("path")
    curves = [path for path in paths if path["class"] != "tick"]
    assert [path["class"] for path in curves] == ["isocline"] * 8 + ["solution"]
    t = np.linspace(0, 1, 50)[:, None]
    for (linear, constant), path in zip([(0, c) for c in range(-3, 5)] + [(2, 2)], curves, strict=True):
        begin, control, end = numbers(path).reshape(3, 2)
        x, y = (((1 - t) ** 2 * begin + 2 * t * (1 - t) * control + t**2 * end) / scale).T
        x, y = x - 3.4, 4.2 - y
        assert np.abs(y - (x**2 + linear * x + constant)).max() < 1e-3
    for slope, path in zip(range(-3, 5), [path for path in paths if path["class"] == "tick"], strict=True):
        run, rise = np.diff(numbers(path).reshape(-1, 2, 2), axis=1)[:, 0].T
        assert len(run) > 5
        assert np.abs(rise + slope * run).max() < 0.2 * (1 + abs(slope))
