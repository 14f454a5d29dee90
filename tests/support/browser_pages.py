"""A visit to the page, which records everything that must not happen on it."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from axe_playwright_python.sync_playwright import Axe
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, FilePayload, Locator, Request, expect

#: Much longer than any step takes, so that no test fails on a slow machine.
PATIENCE_MS = 120_000

#: The folder for pictures to inspect; git ignores it.
PICTURES = Path(__file__).resolve().parents[2] / "build" / "page"

_DROP = """([zone, files]) => {
    const carried = new DataTransfer();
    for (const { name, content } of files) {
        const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
        carried.items.add(new File([bytes], name));
    }
    for (const type of ["dragenter", "dragover", "drop"]) {
        const options = { bubbles: true, cancelable: true, dataTransfer: carried };
        zone.dispatchEvent(new DragEvent(type, options));
    }
}"""


class Visit:
    """A page with its own storage, theme and size."""

    def __init__(
        self,
        browser: Browser,
        url: str,
        *,
        path: str = "/",
        width: int = 1280,
        height: int = 800,
        dark: bool = False,
    ) -> None:
        self.url = url
        #: Errors of the page, violations of its content policy, calls to other hosts.
        self.faults: list[str] = []
        #: Part of the browser's message for each call that the test makes fail.
        self.expected_failures = ""
        self.context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            permissions=["clipboard-read", "clipboard-write"],
            accept_downloads=True,
        )
        self.context.set_default_timeout(PATIENCE_MS)
        self.page = self.context.new_page()
        self.page.on("console", self._note_message)
        self.page.on("pageerror", lambda error: self.faults.append(f"thrown: {error}"))
        self.page.on("request", self._note_request)
        self.page.goto(url + path)

    def close(self) -> None:
        """End the visit."""
        self.context.close()

    def at(self, selector: str) -> Locator:
        """Return the element that a CSS selector names."""
        return self.page.locator(selector)

    def choose(self, files: Sequence[tuple[str, bytes]]) -> None:
        """Choose files with the button."""
        payloads: list[FilePayload] = [
            {"name": name, "mimeType": "application/gzip", "buffer": content}
            for name, content in files
        ]
        expect(self.at("#files")).to_be_enabled()
        self.at("#files").set_input_files(payloads)

    def drop(self, files: Sequence[tuple[str, bytes]]) -> None:
        """Drop files on the page."""
        carried = [
            {"name": name, "content": base64.b64encode(content).decode()} for name, content in files
        ]
        self.page.evaluate(_DROP, [self.at("#drop").element_handle(), carried])

    def until_drawn(self) -> None:
        """Return once scan and mask are drawn."""
        expect(self.at("#drawing[data-shows]")).to_be_visible()

    def pixels(self) -> NDArray[np.int16]:
        """Return the drawn picture, ``[rows, columns, 3]``."""
        # a change of a control is drawn with the next frame
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
        with Image.open(io.BytesIO(self.at("#canvas").screenshot())) as picture:
            return np.asarray(picture.convert("RGB"), dtype=np.int16)

    def row(self, name: str) -> Locator:
        """Return the row of the list that shows a scan of this name."""
        return self.at("#jobs > li").filter(has_text=name)

    def picture(self, name: str, *, whole: bool = False) -> None:
        """Save a picture to inspect."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.mouse.move(0, 0)  # nothing is under the pointer
        self.page.screenshot(path=PICTURES / f"{name}.png", full_page=whole, animations="disabled")

    def barriers(self) -> list[str]:
        """Return the serious and critical accessibility problems that axe-core finds."""
        found: list[dict[str, Any]] = Axe().run(self.page).response["violations"]
        return [
            f"{violation['id']}: {[node['html'][:120] for node in violation['nodes']]}"
            for violation in found
            if violation["impact"] in {"serious", "critical"}
        ]

    def _note_message(self, message: ConsoleMessage) -> None:
        text = message.text
        if message.type not in {"error", "warning"} or "GL Driver Message" in text:
            return
        failed = text.startswith("Failed to load resource")
        if failed and self.expected_failures and self.expected_failures in text:
            return
        self.faults.append(f"{message.type}: {text}")

    def _note_request(self, request: Request) -> None:
        if urlsplit(request.url).scheme in {"http", "https"} and not request.url.startswith(
            self.url + "/"
        ):
            self.faults.append(f"called {request.url}")


def coloured(picture: NDArray[np.int16]) -> int:
    """Count the pixels in the first label's colour, which no grey scan has."""
    red, green, blue = np.moveaxis(picture, -1, 0)
    return int(np.count_nonzero((red - blue > 60) & (red - green > 30)))
