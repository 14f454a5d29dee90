// The form: a model, a priority, and files that are dropped or chosen.

import { listModels, sampleScan } from "../net/api.js";
import { connection } from "../net/connection.js";
import { byId, h, say } from "../ui/dom.js";
import { matchChannels, scanName } from "./files.js";

/** The form, which gives each scan to `uploads`. */
export class Intake {
  #uploads;
  #models = [];
  #channels = {};
  #early = []; // handed in before it was known which models there are

  constructor(uploads) {
    this.#uploads = uploads;
    byId("intake").addEventListener("submit", (event) => event.preventDefault());
    byId("model").addEventListener("change", () => this.#offerChannels());
    byId("sample").addEventListener("click", () => this.#handInSample());
    const chooser = byId("files");
    chooser.addEventListener("change", () => {
      this.#take([...chooser.files]);
      chooser.value = "";
    });
    this.#acceptDrops();
    connection.addEventListener("change", () => {
      if (connection.reached && this.#models.length === 0) this.load();
    });
  }

  /** Asks which models are served, and offers them. */
  async load() {
    const select = byId("model");
    try {
      this.#models = await listModels();
    } catch (problem) {
      select.replaceChildren(h("option", {}, "Not known"));
      this.#complain(problem.message);
      return;
    }
    this.#complain(this.#models.length === 0 ? "The service has no model to run." : "");
    const options = this.#models.map((model) => {
      const ref = `${model.name}@${model.version}`;
      return h("option", { value: ref, selected: model.default }, `${model.name} ${model.version}`);
    });
    select.replaceChildren(...options);
    select.disabled = options.length === 0;
    byId("sample").disabled = this.#sampleModel() === undefined;
    this.#offerChannels();
    this.#take(this.#early.splice(0));
  }

  get #model() {
    return this.#models[byId("model").selectedIndex];
  }

  #sampleModel() {
    const single = this.#models.filter((model) => model.inputs.length === 1);
    return single.find((model) => model.default) ?? single[0];
  }

  #offerChannels() {
    const model = this.#model;
    this.#channels = {};
    const several = model !== undefined && model.inputs.length > 1;
    byId("channels").hidden = !several;
    byId("files").disabled = model === undefined;
    say(
      byId("hint"),
      several
        ? `One file for each of ${model.inputs.map((input) => input.name).join(", ")}`
        : "NIfTI files, .nii or .nii.gz",
    );
    this.#drawChannels();
  }

  #drawChannels() {
    const model = this.#model;
    if (model === undefined || model.inputs.length === 1) {
      byId("channels").replaceChildren();
      return;
    }
    const rows = model.inputs.map(({ name, modality }) => {
      const id = `channel-${name}`;
      const chooser = h("input", { id, type: "file", class: "unseen", accept: ".nii,.gz,.nii.gz" });
      chooser.addEventListener("change", () => {
        this.#channels[name] = chooser.files[0];
        this.#complain("");
        this.#drawChannels();
        byId(id).focus();
      });
      const chosen = this.#channels[name];
      return h(
        "div",
        { class: "channel" },
        chooser,
        h("label", { for: id, class: "button" }, name),
        h("span", { class: chosen ? "file-name" : "hint" }, chosen?.name ?? modality),
      );
    });
    const complete = model.inputs.every(({ name }) => this.#channels[name]);
    const button = h("button", { class: "button primary", type: "button", disabled: !complete });
    button.textContent = "Hand in this scan";
    button.addEventListener("click", () => {
      this.#handIn(this.#channels);
      this.#channels = {};
      this.#drawChannels();
    });
    byId("channels").replaceChildren(...rows, button);
  }

  #take(files) {
    const model = this.#model;
    if (model === undefined) {
      this.#early.push(...files);
      return;
    }
    if (files.length === 0) return;
    if (model.inputs.length === 1) {
      for (const file of files) this.#handIn({ [model.inputs[0].name]: file });
      return;
    }
    const matched = matchChannels(files, model.inputs);
    Object.assign(this.#channels, matched);
    const left = files.filter((file) => !Object.values(matched).includes(file));
    this.#complain(
      left.length > 0
        ? `No channel could be told from the name of ${left.map((file) => file.name).join(", ")}; choose it by hand.`
        : "",
    );
    this.#drawChannels();
  }

  #handIn(files, { model = this.#model, show = false } = {}) {
    this.#complain("");
    this.#uploads.add({
      name: scanName(files),
      files: { ...files },
      model: `${model.name}@${model.version}`,
      priority: byId("priority").value,
      show,
    });
  }

  async #handInSample() {
    const button = byId("sample");
    button.disabled = true;
    try {
      const model = this.#sampleModel();
      const file = await sampleScan();
      this.#handIn({ [model.inputs[0].name]: file }, { model, show: true });
    } catch (problem) {
      this.#complain(problem.message);
    } finally {
      button.disabled = false;
    }
  }

  #complain(words) {
    const place = byId("intake-problem");
    say(place, words);
    place.hidden = words === "";
  }

  #acceptDrops() {
    const zone = byId("drop");
    const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
    // The whole page takes files: a browser would open a file that misses the zone.
    document.addEventListener("dragover", (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      zone.classList.add("over");
    });
    document.addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) zone.classList.remove("over");
    });
    document.addEventListener("drop", (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      zone.classList.remove("over");
      this.#take([...event.dataTransfer.files]);
    });
  }
}
