"""Draws a watermark: a line of text in the lower right corner, light with a dark edge."""

from __future__ import annotations

from PIL import Image, ImageDraw

from .captions import font_for

HEIGHT_SHARE = 28  # the text's height is the picture's shorter side by this
OPACITY = 170  # of 255


class NoFont(ValueError):
    """No font on this machine has all characters of the text."""

    def __init__(self, text: str) -> None:
        super().__init__(f"no font here has the characters of {text!r}; install one, such as fonts-noto-cjk")


def draw_watermark(image: Image.Image, text: str) -> None:
    """Draw the text upon the picture, smaller where it would not fit. Raises NoFont: nothing goes out unmarked."""
    size = max(8, min(image.size) // HEIGHT_SHARE)
    font = font_for(text, size)
    if font is None:
        raise NoFont(text)
    edge = max(1, size // 12)
    left, top, right, bottom = font.getbbox(text, stroke_width=edge)
    box = (max(1, round(right - left)), max(1, round(bottom - top)))
    shape, whole = (Image.new("L", box) for _ in range(2))
    ImageDraw.Draw(shape).text((-left, -top), text, font=font, fill=OPACITY)
    ImageDraw.Draw(whole).text((-left, -top), text, font=font, fill=OPACITY, stroke_width=edge, stroke_fill=OPACITY)
    margin = size // 2
    width = min(box[0], max(1, image.width - 2 * margin))
    if width < box[0]:
        box = (width, max(1, round(box[1] * width / box[0])))
        shape, whole = shape.resize(box), whole.resize(box)
    corner = (max(0, image.width - margin - box[0]), max(0, image.height - margin - box[1]))
    image.paste((20, 20, 24), corner, whole)
    image.paste((255, 255, 255), corner, shape)
