"""Make docs/control_room.gif, the animation in the README, from a real run of the control room.

    python tools/control_room_animation.py

The script runs a pool, uses the controls as STEPS says, and draws five frames per second. Chromium turns the frames
into pixels. It takes about half a minute, and needs Chromium and the packages of requirements-dev.txt.
"""

import io
import shutil
import sys
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.control_room import Room, picture

GIF = Path(__file__).parents[1] / "docs" / "control_room.gif"
FRAME = 0.2  # seconds between two frames
COLORS = 32  # of the animation; the pictures have few
SECONDS = 15.0
# When a control is used, in seconds; what it does; and what a reader should look at.
STEPS = [
    (0.0, lambda room: None, "Four workers, 30 jobs per second: the queue is short."),
    (2.5, lambda room: room.set_mode("slow"), "The service becomes four times as slow: the queue fills up."),
    (7.5, lambda room: room.resize(16), "The alert fires. Sixteen workers instead of four: the queue becomes empty."),
    (11.0, lambda room: room.set_mode("normal"), "The service is fast again."),
    (12.5, lambda room: room.set_mode("failing"), "The service fails: so do the jobs, and the workers go on."),
]
PAGE = f"""<style>
body {{ margin: 0; background: white; font: bold 16px sans-serif; color: #222; width: {2 * picture.WIDTH}px; }}
p {{ margin: 0; padding: 8px 12px; height: 20px; }}
svg {{ display: block; width: {2 * picture.WIDTH}px; }}
</style><p></p><main></main>"""


def frames() -> list[tuple[str, str]]:
    """Run the pool. Return the text and the SVG of each frame."""
    room = Room(rate=30, seed=4, lasts=SECONDS + 5)
    room.start()
    found, before, words = [], room.snapshot(), ""
    steps = list(STEPS)
    try:
        while (now := len(found) * FRAME) < SECONDS:
            if steps and now >= steps[0][0]:
                _, act, words = steps.pop(0)
                act(room)
            time.sleep(FRAME)
            after = room.snapshot()
            moving = picture.moves(before, after)
            found.append((words, picture.whole(after, room.history(), words, moving, ("flow", "waits"))))
            before = after
    finally:
        room.close()
    return found


def pixels(drawn: list[tuple[str, str]]) -> list[Image.Image]:
    """Turn the frames into pictures, with Chromium."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 2 * picture.WIDTH, "height": picture.HEIGHT + 36})
        page.set_content(PAGE)
        for words, svg in drawn:
            page.evaluate(
                "([words, svg]) => { document.querySelector('p').textContent = words;"
                "document.querySelector('main').innerHTML = svg; }",
                [words, svg],
            )
            found.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
        browser.close()
    return found


def save(pictures: list[Image.Image]) -> None:
    """Write the GIF. All frames share the colors of one of them, so that nothing flickers."""
    palette = pictures[len(pictures) * 4 // 5].quantize(COLORS)
    first, *others = [one.quantize(palette=palette, dither=Image.Dither.NONE) for one in pictures]
    first.save(GIF, save_all=True, append_images=others, duration=int(FRAME * 1000), loop=0, optimize=True)


if __name__ == "__main__":
    save(pixels(frames()))
    print(f"{GIF}: {GIF.stat().st_size / 1000:.0f} kB")
