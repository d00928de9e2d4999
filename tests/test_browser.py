"""A real JupyterLab in a real browser: panels, by mouse and by keyboard, and hostile text."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest
from conftest import HOSTILE, PROJECT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, from the system's packages"),
]
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture
def lab(series, tmp_path):
    """JupyterLab on a copy of the notebooks; yields its address."""
    shutil.copytree(PROJECT / "notebooks", tmp_path / "notebooks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "PYTHONPATH": str(PROJECT),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTER_DATA_DIR": str(tmp_path / "data"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
                *(f"--port={port}", "--ServerApp.port_retries=0", "--ip=127.0.0.1"),
                *("--IdentityProvider.token=", f"--ServerApp.root_dir={tmp_path / 'notebooks'}"),
            ],
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            for _ in range(240):
                try:
                    urllib.request.urlopen(f"{address}/api", timeout=1)
                    break
                except (urllib.error.URLError, TimeoutError):
                    assert server.poll() is None, (tmp_path / "log").read_text()
                    time.sleep(0.25)
            yield address
        finally:
            server.terminate()
            server.wait(20)


@contextlib.contextmanager
def browsing(picture, width=1400):
    """Yield a page of a browser; what it shows in the end is kept as a picture."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport={"width": width, "height": 1200})
        try:
            yield page
        finally:
            page.screenshot(
                path=Path(os.environ.get("WORKBENCH_SHOTS", picture.parent), picture.name)
            )
            browser.close()


def write_notebook(path, source):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, path)


def run_all(page, lab, name):
    """Open a notebook and run all of it."""
    page.goto(f"{lab}/lab/tree/{name}?reset")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=120_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()


def test_the_panel_of_notebook_05_generates_and_runs_no_script(lab, tmp_path):
    from playwright.sync_api import expect

    with browsing(tmp_path / "panel.png") as page:
        dialogs = []
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        run_all(page, lab, "05-comparing-generations.ipynb")
        button = page.get_by_role("button", name="Generate")
        button.wait_for(timeout=180_000)
        button.scroll_into_view_if_needed()
        panel = page.locator(".jp-OutputArea-output", has=button).last
        prompt = panel.locator("textarea")
        prompt.fill(HOSTILE)
        prompt.press("Tab")
        button.click()
        expect(panel.get_by_text("Done: 2 texts")).to_be_visible(timeout=90_000)
        cards = panel.locator(".card")
        expect(cards).to_have_count(2)
        for number in range(2):
            assert cards.nth(number).locator(".new").inner_text().strip()
            assert HOSTILE in cards.nth(number).inner_text()
        assert panel.locator("img").count() == 0
        assert page.title() != "run"
        assert dialogs == []


def test_samples_are_searched_by_keyboard_and_a_hostile_one_stays_text(inspected, lab, tmp_path):
    from playwright.sync_api import expect

    source = f"from workbench import widgets_text\n\nwidgets_text.SampleBrowser({inspected!r})"
    write_notebook(tmp_path / "notebooks" / "samples.ipynb", source)
    with browsing(tmp_path / "samples.png") as page:
        run_all(page, lab, "samples.ipynb")
        panel = page.locator(".jp-OutputArea-output", has=page.locator("article")).last
        expect(panel.get_by_text("Document 1 of")).to_be_visible(timeout=120_000)
        search = panel.get_by_label("Search")
        # From the list of languages one step back; then on to the buttons, without a mouse.
        panel.get_by_label("Language").focus()
        page.keyboard.press("Shift+Tab")
        expect(search).to_be_focused()
        page.keyboard.type(HOSTILE)
        page.keyboard.press("Enter")
        expect(panel.get_by_text("Document 1 of 2 documents")).to_be_visible()
        pressed = panel.get_by_role("button", name="Next")
        for _ in range(5):
            page.keyboard.press("Tab")
            if pressed.evaluate("button => button === document.activeElement"):
                break
        expect(pressed).to_be_focused()
        page.keyboard.press("Enter")
        expect(panel.get_by_text("Document 2 of 2 documents")).to_be_visible()
        assert HOSTILE in panel.locator("article").inner_text()
        assert panel.locator("mark").count() > 0
        assert panel.locator("img").count() == 0
        assert page.title() != "run"


@pytest.mark.parametrize("theme", ["JupyterLab Dark"])
def test_a_training_is_started_stopped_and_resumed_in_the_panel(lab, tmp_path, theme):
    from playwright.sync_api import expect

    name = theme.split()[-1].lower()
    source = (
        "from workbench import widgets\n\nwidgets.TrainingMonitor('recipes/pretrain/starter.yaml', "
        f"'name=browsed-{name}', 'train.steps=80')"
    )
    write_notebook(tmp_path / "notebooks" / "monitor.ipynb", source)
    settings = tmp_path / "config/lab/user-settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    (settings / "themes.jupyterlab-settings").write_text(f'{{"theme": "{theme}"}}')
    with browsing(tmp_path / f"monitor-{name}.png", 1300) as page:
        run_all(page, lab, "monitor.ipynb")
        panel = page.locator(".jp-OutputArea-output", has=page.locator(".stands")).last
        state, button = panel.locator(".state"), panel.locator("button.jupyter-button")
        expect(state).to_have_text("○ not begun", timeout=120_000)
        button.filter(has_text="Start").click()
        expect(panel.locator(".tiles")).to_be_visible(timeout=120_000)
        button.filter(has_text="Stop and save").click()
        expect(state).to_have_text("■ stopped", timeout=60_000)
        expect(panel.get_by_text(f"workbench resume pretrain/browsed-{name}")).to_be_visible()
        button.filter(has_text="Resume").click()
        expect(state).to_have_text("✓ finished", timeout=120_000)
        expect(panel.locator(".beside")).to_have_text("step 80 of 80")
        panel.get_by_label("Languages").select_option(["Finnish"])
        expect(panel.locator("text.picked")).to_have_count(1)
        expect(panel.locator("text.picked")).to_contain_text("Finnish")
        # In either theme the ink stands out from the paper, which is that of the notebook.
        ink, paper = panel.locator(".stands b").evaluate(
            "b => [getComputedStyle(b).color, getComputedStyle(b.closest('.live')).backgroundColor]"
        )
        light, dark = (paper, ink) if name == "light" else (ink, paper)
        assert _brightness(light) > 0.8
        assert _brightness(dark) < 0.2


def _brightness(colour):
    """Of ``rgb(...)`` or ``rgba(...)``, from 0 to 1; what shines through is not looked at."""
    red, green, blue = (float(part) for part in colour.split("(")[1].rstrip(")").split(",")[:3])
    return (red + green + blue) / 3 / 255
