// The viewer with its knobs, for one finished job at a time.

import { download, Problem } from "../net/api.js";
import { byId, h, say } from "../ui/dom.js";
import { CannotDraw, Viewer } from "./viewer.js";
import { percent } from "../ui/words.js";

/** Connects the knobs of the page to a viewer, which starts with the first finished job. */
export class Reading {
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
    const stage = byId("stage");
    // NiiVue keeps a press from giving focus, and without it no key would come
    stage.addEventListener("mousedown", () => byId("canvas").focus({ preventScroll: true }));
    // The right button windows; what it came to is read once it is let go.
    for (const event of ["mouseup", "dblclick"]) {
      stage.addEventListener(event, () => this.#readGreys());
    }
    // Caught on its way down, so that keys mean here what the page says and nothing else.
    const capture = { capture: true };
    stage.addEventListener("keydown", (event) => this.#press(event), capture);
    stage.addEventListener("keyup", (event) => event.stopPropagation(), capture);
  }

  /** Shows a finished job's scan and mask, unless they are on show already. */
  async show(job) {
    if (this.#job?.id === job.id) return;
    this.leave();
    this.#job = job;
    const { signal } = this.#loading;
    const bar = h("progress", { max: "1", "aria-label": "Fetching the scan" });
    this.#state(h("p", {}, "Fetching the scan…"), bar);
    try {
      const [scan, mask, viewer] = await Promise.all([
        download(job.links.scan, { signal, onShare: (share) => (bar.value = share) }),
        download(job.links.mask, { signal }),
        this.#start(),
      ]);
      if (signal.aborted) return;
      await viewer.show(scan, mask, job.result.labels, signal);
      if (signal.aborted) return;
      this.#ready();
    } catch (error) {
      if (signal.aborted) return;
      this.#loading.abort(); // what is still on its way is of no use
      this.#failed(job, error);
    }
  }

  /** Stops what is loading and clears the stage. */
  leave() {
    this.#loading.abort();
    this.#loading = new AbortController();
    this.#job = null;
    this.#drawn = false;
    this.#viewer?.clear();
    this.#enableLesions();
  }

  async #start() {
    // one canvas bears one viewer, however many jobs ask for it while it starts
    this.#starting ??= Viewer.on(byId("canvas"), (place) => this.#tellPlace(place));
    this.#viewer = await this.#starting;
    return this.#viewer;
  }

  #ready() {
    this.#state();
    this.#drawn = true;
    this.#lesion = 0;
    this.#enableLesions();
    this.#readGreys();
    byId("stage").dataset.shows = this.#job.id;
  }

  #failed(job, error) {
    const told = error instanceof Problem || error instanceof CannotDraw;
    const words = told ? error.message : "The scan could not be drawn.";
    this.#state(
      h("p", { role: "alert" }, words),
      h("p", {}, "This is the picture that the service made."),
      h("img", { src: job.links.preview, alt: "The slice with the largest lesion" }),
    );
  }

  #state(...content) {
    const state = byId("stage-state");
    state.replaceChildren(...content);
    state.hidden = content.length === 0;
    delete byId("stage").dataset.shows;
  }

  #enableLesions() {
    const lesions = this.#viewer?.lesions ?? [];
    byId("largest").disabled = lesions.length === 0;
    byId("next-lesion").disabled = lesions.length < 2;
    say(byId("next-lesion"), lesions.length < 2 ? "Next" : `Next of ${lesions.length}`);
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

  #tellPlace({ mm, intensity, label }) {
    const [x, y, z] = mm;
    const side = (value, plus, minus) => {
      const shown = Math.abs(value).toFixed(1);
      return `${shown} ${value < 0 && shown !== "0.0" ? minus : plus}`;
    };
    say(byId("at-mm"), `${side(x, "R", "L")}  ${side(y, "A", "P")}  ${side(z, "S", "I")} mm`);
    say(byId("at-intensity"), intensity === undefined ? "–" : String(Number(intensity.toFixed(2))));
    const name = this.#job?.result.labels.find(({ value }) => value === label)?.name;
    say(byId("at-label"), name ?? "none");
  }

  #setOpacity() {
    const share = byId("opacity").value / 100;
    say(byId("opacity-value"), percent(share));
    this.#viewer?.setOpacity(share);
  }

  #setGreys() {
    if (!this.#drawn) return;
    const { least, most } = this.#viewer.greys;
    const unit = (most - least) / 1000;
    const level = least + byId("level").value * unit;
    const width = byId("window").value * unit;
    this.#viewer.setGreys(level - width / 2, level + width / 2);
    this.#tellGreys(level, width);
  }

  #readGreys() {
    if (!this.#drawn) return;
    const { black, white, least, most } = this.#viewer.greys;
    const unit = (most - least) / 1000;
    byId("level").value = ((black + white) / 2 - least) / unit;
    byId("window").value = (white - black) / unit;
    this.#tellGreys((black + white) / 2, white - black);
  }

  #tellGreys(level, width) {
    const shown = (value) => (Math.abs(value) < 10 ? value.toFixed(2) : value.toFixed(0));
    say(byId("level-value"), shown(level));
    say(byId("window-value"), shown(width));
  }
}
