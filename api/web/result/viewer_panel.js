// The viewer and its controls, for one finished job at a time.

import { download, Problem } from "../net/api.js";
import { byId, h, setText } from "../ui/dom.js";
import { percent } from "../ui/format.js";
import { CannotDraw, Viewer } from "./viewer.js";

/** Connects the controls of the page to a viewer, which is created for the first finished job. */
export class ViewerPanel {
  #viewer = null;
  #starting = null;
  #loading = new AbortController();
  #job = null;
  #drawn = false;
  #lesion = 0;

  constructor() {
    for (const radio of document.getElementsByName("view")) {
      radio.addEventListener("change", () => this.#viewer?.setView(radio.value));
    }
    byId("opacity").addEventListener("input", () => this.#setOpacity());
    byId("outlines").addEventListener("change", (event) =>
      this.#viewer?.setOutlines(event.target.checked),
    );
    for (const id of ["level", "window"]) {
      byId(id).addEventListener("input", () => this.#setGreys());
    }
    byId("reset").addEventListener("click", () => {
      if (this.#drawn) this.#viewer.resetGreys();
      this.#readGreys();
    });
    byId("largest").addEventListener("click", () => this.#goToLesion(0));
    byId("next-lesion").addEventListener("click", () => {
      this.#goToLesion((this.#lesion + 1) % this.#viewer.lesions.length);
    });
    const drawing = byId("drawing");
    // NiiVue stops a mouse press from setting the focus, and keys need it
    drawing.addEventListener("mousedown", () => byId("canvas").focus({ preventScroll: true }));
    // Dragging with the right button changes the window: show the new values when it is released.
    for (const event of ["mouseup", "dblclick"]) {
      drawing.addEventListener(event, () => this.#readGreys());
    }
    // Handle keys before NiiVue does: it has other meanings for them.
    const capture = { capture: true };
    drawing.addEventListener("keydown", (event) => this.#press(event), capture);
    drawing.addEventListener("keyup", (event) => event.stopPropagation(), capture);
  }

  /** Shows a finished job's scan and mask, unless they are shown already. */
  async show(job) {
    if (this.#job?.id === job.id) return;
    this.clear();
    this.#job = job;
    const { signal } = this.#loading;
    const bar = h("progress", { max: "1", "aria-label": "Loading the scan" });
    this.#showState(h("p", {}, "Loading the scan…"), bar);
    try {
      const [scan, mask, viewer] = await Promise.all([
        download(job.links.scan, { signal, onProgress: (fraction) => (bar.value = fraction) }),
        download(job.links.mask, { signal }),
        this.#start(),
      ]);
      if (signal.aborted) return;
      await viewer.show(scan, mask, job.result.labels, signal);
      if (signal.aborted) return;
      this.#ready();
    } catch (error) {
      if (signal.aborted) return;
      this.#loading.abort(); // the other download is of no use alone
      this.#failed(job, error);
    }
  }

  /** Stops the downloads and removes the volumes. */
  clear() {
    this.#loading.abort();
    this.#loading = new AbortController();
    this.#job = null;
    this.#drawn = false;
    this.#viewer?.clear();
    this.#enableLesions();
  }

  async #start() {
    // create one viewer for the canvas, even if several jobs need it before it is ready
    this.#starting ??= Viewer.on(byId("canvas"), (position) => this.#showPosition(position));
    this.#viewer = await this.#starting;
    return this.#viewer;
  }

  #ready() {
    this.#showState();
    this.#drawn = true;
    this.#lesion = 0;
    this.#enableLesions();
    this.#readGreys();
    byId("drawing").dataset.shows = this.#job.id;
  }

  #failed(job, error) {
    const isForUsers = error instanceof Problem || error instanceof CannotDraw;
    const text = isForUsers ? error.message : "The scan could not be drawn.";
    this.#showState(
      h("p", { role: "alert" }, text),
      h("p", {}, "The service made this picture of it."),
      h("img", { src: job.links.preview, alt: "The slice with the largest lesion" }),
    );
  }

  #showState(...content) {
    const state = byId("drawing-state");
    state.replaceChildren(...content);
    state.hidden = content.length === 0;
    delete byId("drawing").dataset.shows;
  }

  #enableLesions() {
    const lesions = this.#viewer?.lesions ?? [];
    byId("largest").disabled = lesions.length === 0;
    byId("next-lesion").disabled = lesions.length < 2;
    setText(byId("next-lesion"), lesions.length < 2 ? "Next" : `Next of ${lesions.length}`);
  }

  #goToLesion(index) {
    this.#lesion = index;
    this.#viewer.goTo(this.#viewer.lesions[index].mm);
  }

  #press(event) {
    event.stopPropagation();
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (this.#viewer?.press(event.key)) event.preventDefault();
  }

  #showPosition({ mm, intensity, label }) {
    const [x, y, z] = mm;
    const side = (value, plus, minus) => {
      const shown = Math.abs(value).toFixed(1);
      return `${shown} ${value < 0 && shown !== "0.0" ? minus : plus}`;
    };
    setText(byId("at-mm"), `${side(x, "R", "L")}  ${side(y, "A", "P")}  ${side(z, "S", "I")} mm`);
    const shown = intensity === undefined ? "–" : String(Number(intensity.toFixed(2)));
    setText(byId("at-intensity"), shown);
    const name = this.#job?.result.labels.find(({ value }) => value === label)?.name;
    setText(byId("at-label"), name ?? "none");
  }

  #setOpacity() {
    const opacity = byId("opacity").value / 100;
    setText(byId("opacity-value"), percent(opacity));
    this.#viewer?.setOpacity(opacity);
  }

  #setGreys() {
    if (!this.#drawn) return;
    const { least, most } = this.#viewer.greys;
    const unit = (most - least) / 1000;
    const level = least + byId("level").value * unit;
    const width = byId("window").value * unit;
    this.#viewer.setGreys(level - width / 2, level + width / 2);
    this.#showGreys(level, width);
  }

  #readGreys() {
    if (!this.#drawn) return;
    const { black, white, least, most } = this.#viewer.greys;
    const unit = (most - least) / 1000;
    byId("level").value = ((black + white) / 2 - least) / unit;
    byId("window").value = (white - black) / unit;
    this.#showGreys((black + white) / 2, white - black);
  }

  #showGreys(level, width) {
    const shown = (value) => (Math.abs(value) < 10 ? value.toFixed(2) : value.toFixed(0));
    setText(byId("level-value"), shown(level));
    setText(byId("window-value"), shown(width));
  }
}
