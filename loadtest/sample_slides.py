"""The pictures of the sample lesson 《认识分数》: six slides, drawn with Pillow. Only the maker needs it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from loadtest import clock

WIDTH, HEIGHT, FRAMES_PER_SECOND = 1280, 720, 15
SCALE = 2  # drawn at twice the size and reduced: smooth edges without a drawing library
STAGE = 664  # the footer with the clock begins here

PAPER, INK, SOFT, MIST = "#FBF6EC", "#22303C", "#7A7466", "#EADFCB"
RED, JADE, GOLD, CREAM, NIGHT = "#D9482B", "#1F7A6D", "#E5A137", "#F7DFAE", "#16303A"

_FONTS = "/usr/share/fonts/opentype/noto/Noto{}CJK-{}.ttc"
_SIMPLIFIED = 2  # face of the collection


@cache
def _font(size: float, weight: str = "Bold", family: str = "Sans") -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_FONTS.format(family, weight), round(size * SCALE), index=_SIMPLIFIED)


class Canvas:
    """A thin layer over ``ImageDraw`` in units of the finished picture."""

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self._draw = ImageDraw.Draw(image)

    def box(self, x: float, y: float, w: float, h: float, fill: str | None, radius: float = 0, **line: object) -> None:
        outline, width = line.get("outline"), float(str(line.get("width", 0)))
        at = (x * SCALE, y * SCALE, (x + w) * SCALE - 1, (y + h) * SCALE - 1)
        self._draw.rounded_rectangle(
            at, radius * SCALE, fill, None if outline is None else str(outline), round(width * SCALE)
        )

    def disc(self, x: float, y: float, radius: float, fill: str, outline: str | None = None, width: float = 0) -> None:
        at = tuple(v * SCALE for v in (x - radius, y - radius, x + radius, y + radius))
        self._draw.ellipse(at, fill, outline, round(width * SCALE))

    def pie(self, x: float, y: float, radius: float, start: float, end: float, fill: str) -> None:
        if end > start:
            at = tuple(v * SCALE for v in (x - radius, y - radius, x + radius, y + radius))
            self._draw.pieslice(at, start, end, fill)

    def line(self, points: list[tuple[float, float]], fill: str, width: float) -> None:
        self._draw.line([(x * SCALE, y * SCALE) for x, y in points], fill, round(width * SCALE), joint="curve")

    def dashes(self, x0: float, y0: float, x1: float, y1: float, fill: str, width: float, dash: float = 9) -> None:
        length = math.hypot(x1 - x0, y1 - y0)
        for step in range(int(length / dash / 2) + 1):
            a, b = (min(d, length) / max(length, 1) for d in (2 * step * dash, (2 * step + 1) * dash))
            ends = [(x0 + (x1 - x0) * t, y0 + (y1 - y0) * t) for t in (a, b)]
            self.line(ends, fill, width)

    def text(self, x: float, y: float, text: str, size: float, fill: str = INK, **style: str) -> None:
        font = _font(size, style.get("weight", "Bold"), style.get("family", "Sans"))
        self._draw.text((x * SCALE, y * SCALE), text, fill, font, anchor=style.get("anchor", "lm"))

    def fraction(self, x: float, y: float, top: str, bottom: str, size: float, fill: str = INK) -> None:
        """A fraction centred on (x, y), its line at y."""
        self.box(x - size * 0.46, y - size * 0.035, size * 0.92, size * 0.07, fill)
        self.text(x, y - size * 0.56, top, size, fill, anchor="mm", family="Serif")
        self.text(x, y + size * 0.56, bottom, size, fill, anchor="mm", family="Serif")


@dataclass(frozen=True)
class Slide:
    """One slide: what espeak-ng says over it (pinyin with tones), and how it is drawn ``t`` of its time (0..1)."""

    speech: str
    still: Callable[[Canvas], None]
    moving: Callable[[Canvas, float], None]
    pointer: tuple[tuple[float, float], ...]


def ease(t: float, start: float, end: float) -> float:
    """0 before ``start``, 1 after ``end``, smooth between."""
    x = min(1.0, max(0.0, (t - start) / (end - start)))
    return x * x * (3 - 2 * x)


# --- the slides -----------------------------------------------------------------------------------------------------


def _header(canvas: Canvas, number: str, title: str) -> None:
    canvas.box(56, 46, 56, 56, RED, 14)
    canvas.text(84, 73, number, 32, "white", anchor="mm", family="Serif")
    canvas.text(132, 73, title, 38, INK)
    canvas.text(1224, 73, "三年级上册 · 数学", 22, SOFT, anchor="rm", weight="Regular")
    canvas.box(56, 122, 1168, 2, MIST)


def _title_still(canvas: Canvas) -> None:
    canvas.box(0, 0, 16, STAGE, RED)
    canvas.text(110, 112, "空中课堂", 30, RED)
    canvas.box(246, 98, 2, 28, MIST)
    canvas.text(266, 112, "小学数学 · 三年级上册", 26, SOFT, weight="Regular")
    for place, character in enumerate("认识分数"):
        x, y, side = 110 + place * 172, 196, 160
        canvas.box(x, y, side, side, "#FFFDF8", 4, outline="#E2A08F", width=2.5)
        canvas.dashes(x + side / 2, y + 4, x + side / 2, y + side - 4, "#EBC0B3", 1.5, 6)
        canvas.dashes(x + 4, y + side / 2, x + side - 4, y + side / 2, "#EBC0B3", 1.5, 6)
        canvas.text(x + side / 2, y + side / 2, character, 122, INK, anchor="mm", family="Serif")
    canvas.text(112, 424, "平均分，才有分数", 40, JADE, family="Serif")
    canvas.text(112, 540, "授课教师  林老师", 28, INK, weight="Regular")
    canvas.text(112, 586, "面向全县三年级各教学点同步授课", 24, SOFT, weight="Regular")


def _title_moving(canvas: Canvas, t: float) -> None:
    x, y, radius = 1030, 360, 168
    canvas.disc(x, y + 6, radius + 12, MIST)
    canvas.disc(x, y, radius + 10, "#FFFDF8")
    colours = (RED, GOLD, JADE, "#5B8DB8")
    for part, colour in enumerate(colours):
        shown = ease(t, 0.08 + part * 0.18, 0.24 + part * 0.18)
        canvas.pie(x, y, radius, -90 + part * 90, -90 + part * 90 + 90 * shown, colour)
    for turn in range(4):
        angle = math.radians(turn * 90)
        canvas.line([(x, y), (x + radius * math.cos(angle), y + radius * math.sin(angle))], "#FFFDF8", 5)


def _mooncake_still(canvas: Canvas) -> None:
    _header(canvas, "一", "把一个月饼平均分成 2 份")
    canvas.box(716, 176, 508, 400, "#FFFDF8", 24, outline=MIST, width=2)
    canvas.text(764, 284, "每份是它的", 38, INK)
    canvas.text(764, 430, "二分之一", 66, RED, family="Serif")
    canvas.text(764, 508, "读作：二分之一", 28, SOFT, weight="Regular")
    canvas.text(84, 632, "分得一样多，叫做“平均分”。", 30, JADE)


def _half(canvas: Canvas, x: float, y: float, side: int) -> None:
    start = 90 if side < 0 else -90
    canvas.pie(x, y + 8, 172, start, start + 180, "#D3B98A")
    canvas.pie(x, y, 172, start, start + 180, "#B9722F")
    canvas.pie(x, y, 158, start, start + 180, "#DB9A4A")
    for petal in range(9):
        angle = math.radians(start + 10 + petal * 20)
        canvas.disc(x + 137 * math.cos(angle), y + 137 * math.sin(angle), 11, "#C98338")
    canvas.pie(x, y, 104, start, start + 180, "#C98338")
    canvas.pie(x, y, 97, start, start + 180, "#E7AF62")
    canvas.text(x + side * 48, y, "中" if side < 0 else "秋", 64, "#A05F22", anchor="mm", family="Serif")


def _mooncake_moving(canvas: Canvas, t: float) -> None:
    apart = 24 * ease(t, 0.34, 0.5)
    _half(canvas, 360 - apart, 344, -1)
    _half(canvas, 360 + apart, 344, 1)
    cut = ease(t, 0.16, 0.34)
    if cut > 0 and apart < 20:
        canvas.dashes(360, 160, 360, 160 + 372 * cut, "#FFFDF8", 5, 10)
    if apart > 12:
        canvas.fraction(250, 568, "1", "2", 34, RED)
        canvas.fraction(470, 568, "1", "2", 34, RED)
    if t > 0.55:
        canvas.fraction(1050, 284, "1", "2", 84 * ease(t, 0.5, 0.62) + 1, RED)


def _square_still(canvas: Canvas) -> None:
    _header(canvas, "二", "把一张正方形纸平均分成 4 份")
    canvas.box(108, 174, 400, 400, "#FFFDF8", 6, outline=INK, width=4)
    canvas.text(308, 618, "对折，再对折", 28, SOFT, anchor="mm", weight="Regular")
    canvas.text(620, 232, "每份是它的", 36, INK)
    canvas.text(620, 466, "涂色的有 3 份，是它的", 36, INK)


def _square_moving(canvas: Canvas, t: float) -> None:
    for part, (column, row) in enumerate(((0, 0), (1, 0), (0, 1))):
        height = 200 * ease(t, 0.56 + part * 0.1, 0.66 + part * 0.1)
        if height >= 1:
            canvas.box(112 + column * 196, 178 + row * 196, 196, min(height, 196), (JADE, "#2E9483", "#45A896")[part])
    canvas.dashes(308, 176, 308, 176 + 396 * ease(t, 0.1, 0.2), INK, 3)
    canvas.dashes(110, 374, 110 + 396 * ease(t, 0.22, 0.32), 374, INK, 3)
    if t > 0.36:
        canvas.fraction(874, 232, "1", "4", 76, JADE)
        canvas.text(956, 232, "四分之一", 46, JADE, family="Serif")
    if t > 0.8:
        canvas.fraction(1060, 466, "3", "4", 76, RED)
        canvas.text(620, 556, "四分之三", 46, RED, family="Serif")


def _names_still(canvas: Canvas) -> None:
    _header(canvas, "三", "分数各部分的名称")
    canvas.box(96, 168, 420, 440, "#FFFDF8", 24, outline=MIST, width=2)
    canvas.fraction(306, 388, "3", "4", 164, INK)


def _names_moving(canvas: Canvas, t: float) -> None:
    rows = (
        (0.04, 388, "分数线", "表示平均分", GOLD),
        (0.34, 482, "分母", "一共平均分成 4 份", JADE),
        (0.66, 294, "分子", "取了其中的 3 份", RED),
    )
    for start, y, name, meaning, colour in rows:
        shown = ease(t, start, start + 0.1)
        if shown > 0:
            canvas.line([(400, y), (400 + 176 * shown, y)], colour, 4)
            canvas.disc(400, y, 8, colour)
        if shown == 1:
            canvas.box(584, y - 34, 168, 68, colour, 16)
            canvas.text(668, y - 2, name, 38, "white", anchor="mm")
            canvas.text(782, y - 1, meaning, 36, INK, weight="Regular")


def _compare_still(canvas: Canvas) -> None:
    _header(canvas, "四", "比一比：谁大谁小？")
    for y, parts in ((214, 2), (390, 4)):
        canvas.box(236, y, 760, 96, "#FFFDF8", 4, outline=INK, width=3)
        for cut in range(1, parts):
            canvas.dashes(236 + 760 * cut / parts, y + 2, 236 + 760 * cut / parts, y + 94, INK, 2)
    canvas.fraction(150, 262, "1", "2", 58, RED)
    canvas.fraction(150, 438, "1", "4", 58, JADE)
    canvas.text(1020, 262, "分 2 份", 28, SOFT, weight="Regular")
    canvas.text(1020, 438, "分 4 份", 28, SOFT, weight="Regular")


def _compare_moving(canvas: Canvas, t: float) -> None:
    for y, share, start, colour in ((214, 380, 0.08, RED), (390, 190, 0.26, JADE)):
        width = (share - 4) * ease(t, start, start + 0.14)
        if width >= 1:
            canvas.box(239, y + 3, width, 90, colour)
    if t > 0.56:
        canvas.dashes(616, 300, 616, 300 + 210 * ease(t, 0.56, 0.66), GOLD, 3)
    if t > 0.68:
        canvas.fraction(470, 580, "1", "2", 46, RED)
        canvas.text(536, 578, "＞", 48, INK, anchor="mm")
        canvas.fraction(602, 580, "1", "4", 46, JADE)
        canvas.text(668, 580, "分的份数越多，每份越小。", 30, INK)


def _end_still(canvas: Canvas) -> None:
    _header(canvas, "五", "今天我们学会了")
    points = (
        ("平均分", "分得一样多，才能用分数表示"),
        ("读和写", "先写分数线，再写分母和分子"),
        ("比大小", "分的份数越多，每份越小"),
    )
    for row, (name, text) in enumerate(points):
        y = 206 + row * 122
        canvas.box(96, y - 42, 1088, 96, "#FFFDF8", 20, outline=MIST, width=2)
        canvas.disc(150, y + 6, 26, (RED, JADE, GOLD)[row])
        canvas.text(150, y + 4, str(row + 1), 30, "white", anchor="mm")
        canvas.text(200, y + 5, name, 38, INK)
        canvas.text(372, y + 6, text, 32, SOFT, weight="Regular")


def _end_moving(canvas: Canvas, t: float) -> None:
    for row in range(3):
        done = ease(t, 0.1 + row * 0.2, 0.24 + row * 0.2)
        x, y = 1112, 206 + row * 122
        if done > 0:
            corner = min(1.0, done * 2.5)
            points = [(x, y + 6.0), (x + 14 * corner, y + 6 + 16 * corner)]
            if done > 0.4:
                rest = (done - 0.4) / 0.6
                points.append((x + 14 + 32 * rest, y + 22 - 36 * rest))
            canvas.line(points, JADE, 8)
    canvas.text(640, 588, "同学们，再见！", 44, RED, anchor="mm", family="Serif")


SLIDES = (
    Slide(
        "tong2xue2 men5 hao3! jin1tian1 wo3men5 yi4qi3 lai2 ren4shi5 fen1shu4.",
        _title_still,
        _title_moving,
        ((196, 390), (712, 390), (1030, 360)),
    ),
    Slide(
        "ba3 yi2ge4 yue4bing3, ping2jun1 fen1cheng2 liang3 fen4. mei3 fen4, shi4 ta1de5 er4 fen1zhi1 yi1.",
        _mooncake_still,
        _mooncake_moving,
        ((360, 160), (360, 530), (270, 420), (1140, 440), (1110, 300)),
    ),
    Slide(
        "ba3 yi4zhang1 zheng4fang1xing2 zhi3, ping2jun1 fen1cheng2 si4 fen4. mei3 fen4, shi4 ta1de5 si4 fen1zhi1 yi1. "
        "tu2se4 de5 you3 san1 fen4, jiu4shi4 si4 fen1zhi1 san1.",
        _square_still,
        _square_moving,
        ((308, 190), (308, 560), (490, 374), (874, 320), (210, 270), (210, 470), (860, 570)),
    ),
    Slide(
        "zhong1jian1 de5 heng2xian4, jiao4 fen1shu4xian4. xia4mian4 de5 si4, jiao4 fen1mu3. "
        "shang4mian4 de5 san1, jiao4 fen1zi3.",
        _names_still,
        _names_moving,
        ((240, 400), (380, 400), (668, 440), (330, 490), (668, 536), (330, 300), (800, 340)),
    ),
    Slide(
        "er4 fen1zhi1 yi1, he2 si4 fen1zhi1 yi1, na3ge4 da4? fen1de5 fen4shu4 yue4duo1, mei3 fen4 yue4xiao3.",
        _compare_still,
        _compare_moving,
        ((250, 260), (600, 260), (250, 440), (420, 440), (616, 510), (860, 624)),
    ),
    Slide(
        "jin1tian1 de5 ke4, jiu4 dao4 zhe4li3. tong2xue2 men5 zai4jian4!",
        _end_still,
        _end_moving,
        ((300, 240), (300, 362), (300, 484), (520, 630)),
    ),
)


# --- one frame ------------------------------------------------------------------------------------------------------


@cache
def _still(index: int) -> Image.Image:
    image = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), PAPER)
    canvas = Canvas(image)
    SLIDES[index].still(canvas)
    canvas.box(0, STAGE, WIDTH, HEIGHT - STAGE, NIGHT)
    return image


def _pointer(canvas: Canvas, path: tuple[tuple[float, float], ...], t: float) -> None:
    place = min(t, 0.9999) * (len(path) - 1)
    leg = int(place)
    part = ease(place - leg, 0.15, 0.85)
    (x0, y0), (x1, y1) = path[leg], path[leg + 1]
    x, y = x0 + (x1 - x0) * part, y0 + (y1 - y0) * part
    canvas.disc(x, y, 13, "#FFFFFF")
    canvas.disc(x, y, 10, "#E8302A")


def _footer(canvas: Canvas, number: int, level: float) -> None:
    for place, white in enumerate(clock.cells(number)):
        canvas.box(clock.LEFT + place * clock.CELL, clock.TOP, clock.CELL, clock.HEIGHT, "white" if white else "black")
    seconds, frame = divmod(number, FRAMES_PER_SECOND)
    for place, character in enumerate(f"{seconds // 60:02}:{seconds % 60:02}.{frame:02}"):
        canvas.text(968 + place * 16, 691, character, 25, "#E9F1F0", anchor="mm")
    canvas.text(1100, 692, f"#{number:04}", 20, "#8FB0B2", weight="Regular")
    for bar, share in enumerate((0.45, 0.8, 1.0, 0.8, 0.45)):
        height = 5 + 27 * level * share
        canvas.box(1188 + bar * 12, 692 - height / 2, 7, height, GOLD, 3)


def picture(slide: int, t: float, number: int, level: float) -> Image.Image:
    """Frame ``number`` of the lesson: ``slide`` at ``t`` of its time, the voice at ``level`` (both 0..1)."""
    image = _still(slide).copy()
    canvas = Canvas(image)
    SLIDES[slide].moving(canvas, t)
    _pointer(canvas, SLIDES[slide].pointer, t)
    _footer(canvas, number, level)
    return image.reduce(SCALE)
